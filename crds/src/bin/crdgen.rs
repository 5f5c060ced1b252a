//! Prints the CustomResourceDefinition; `make generate` writes it to `crds/changefeeds.yaml`.

use std::io::Write;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    std::io::stdout().write_all(tidemark_crds::crd_yaml()?.as_bytes())?;
    Ok(())
}
