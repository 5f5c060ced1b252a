//! Prints what is generated from the resource's types: `crdgen crd`, `crdgen reference`. See `make generate`.

use std::error::Error;
use std::io::Write;

fn main() -> Result<(), Box<dyn Error>> {
    let text = match std::env::args().nth(1).as_deref() {
        Some("crd") => tidemark_crds::crd_yaml()?,
        Some("reference") => tidemark_crds::reference()?,
        _ => return Err("give `crd` or `reference`".into()),
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}
