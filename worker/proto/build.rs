//! Compiles the protocol files without a `protoc` binary.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let files = ["cdcpb.proto", "pdpb.proto", "peerspb.proto", "tikvpb.proto"];
    println!("cargo:rerun-if-changed=proto");
    let set = protox::compile(files, ["proto"])?;
    tonic_prost_build::configure()
        .bytes(".")
        .build_client(true)
        .build_server(true)
        .compile_fds(set)?;
    Ok(())
}
