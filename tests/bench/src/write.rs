use std::fs::File;
use std::io::Write;

use anyhow::Result;

use crate::actor::{Meter, tell};
use crate::arguments::WriteArgs;

/// Size of a file, as the storage sink's default.
const FILE: u64 = 64 << 20;

/// The bare file writer's process: writes, syncs, reports.
pub(crate) fn write(args: &WriteArgs) -> Result<()> {
    let block = vec![b'x'; 1 << 20];
    let meter = Meter::start()?;
    let mut left = args.bytes;
    for number in 0.. {
        if left == 0 {
            break;
        }
        let size = left.min(FILE);
        let mut file = File::create(args.folder.join(format!("bare-{number}")))?;
        let mut rest = size;
        while rest > 0 {
            let part = rest.min(block.len() as u64);
            file.write_all(&block[..usize::try_from(part)?])?;
            rest -= part;
        }
        file.sync_all()?;
        left -= size;
    }
    tell(&args.report, &meter.stop(0)?)
}
