use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tidemark_model::{KvChange, Ts};

use crate::account::Account;
use crate::block::{self, BlockHeader, HEADER};
use crate::{MergeError, Refused, Spill};

/// One file of a run. Dropping the last user of it deletes the file and gives its disk bytes back.
#[derive(Debug)]
struct Segment {
    path: PathBuf,
    bytes: u64,
    spill: Arc<Spill>,
}

impl Drop for Segment {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot delete a spill file");
        }
        self.spill.give_disk(self.bytes);
    }
}

/// Writes sorted changes as a run of one or more files. Dropped unfinished, it leaves nothing behind.
pub(crate) struct RunWriter<'a> {
    spill: &'a Arc<Spill>,
    name: &'a str,
    done: VecDeque<Arc<Segment>>,
    open: Option<(Segment, File)>,
    raw: Vec<u8>,
    sealed: Vec<u8>,
    rows: u64,
    first: Ts,
}

impl<'a> RunWriter<'a> {
    pub(crate) fn new(spill: &'a Arc<Spill>, name: &'a str) -> Self {
        Self {
            spill,
            name,
            done: VecDeque::new(),
            open: None,
            raw: Vec::new(),
            sealed: Vec::new(),
            rows: 0,
            first: Ts::MAX,
        }
    }

    /// Adds the next change in order.
    pub(crate) fn put(&mut self, change: &KvChange) -> Result<(), MergeError> {
        if !self.raw.is_empty() && self.raw.len() + block::row_len(change) > self.spill.config().block_bytes {
            self.flush_block()?;
        }
        if self.rows == 0 {
            self.first = change.commit_ts;
        }
        block::put_row(&mut self.raw, change);
        self.rows += 1;
        Ok(())
    }

    /// The run, ready to be read.
    pub(crate) fn finish(mut self, account: &Account) -> Result<Run, MergeError> {
        self.flush_block()?;
        self.close_segment();
        Ok(Run {
            segments: self.done,
            account: account.clone(),
            file: None,
            at: 0,
            stored: 0,
            block: None,
            cursor: 0,
            head: None,
            head_commit: self.first,
            rows: self.rows,
        })
    }

    fn flush_block(&mut self) -> Result<(), MergeError> {
        if self.raw.is_empty() {
            return Ok(());
        }
        block::seal(&self.raw, self.spill.config().compress, &mut self.sealed);
        self.raw.clear();
        let bytes = self.sealed.len() as u64;
        self.spill.take_disk(bytes)?;
        let open = match self.open.take() {
            Some(open) => Ok(open),
            None => self.open_segment(),
        };
        let (segment, file) = match open {
            Ok(open) => self.open.insert(open),
            Err(error) => {
                self.spill.give_disk(bytes);
                return Err(error);
            }
        };
        segment.bytes += bytes;
        file.write_all(&self.sealed)
            .map_err(|error| self.spill.write_failed("write", &segment.path, error))?;
        if segment.bytes >= self.spill.config().run_bytes {
            self.close_segment();
        }
        Ok(())
    }

    fn open_segment(&self) -> Result<(Segment, File), MergeError> {
        let path = self.spill.next_path(self.name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|error| self.spill.write_failed("create", &path, error))?;
        let segment = Segment {
            path,
            bytes: 0,
            spill: Arc::clone(self.spill),
        };
        Ok((segment, file))
    }

    fn close_segment(&mut self) {
        if let Some((segment, _)) = self.open.take() {
            self.done.push_back(Arc::new(segment));
        }
    }
}

impl Spill {
    /// A failed write, told as [`MergeError::DiskFull`] where room would mend it.
    fn write_failed(&self, action: &'static str, path: &Path, error: io::Error) -> MergeError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => MergeError::DiskFull {
                used: self.disk_used(),
                quota: self.config().disk,
                refused: Refused(Vec::new()),
            },
            _ => MergeError::io(action, path)(error),
        }
    }
}

/// A sorted run on disk, read from front to back; each file is deleted once it is read.
#[derive(Debug)]
pub(crate) struct Run {
    segments: VecDeque<Arc<Segment>>,
    account: Account,
    /// The first segment, while it is being read.
    file: Option<File>,
    /// Offset of the current block in the first segment.
    at: u64,
    /// Bytes of the current block in the file, header included; known while it is loaded.
    stored: u64,
    block: Option<Bytes>,
    /// Offset of the head row in the current block, raw.
    cursor: usize,
    /// The head row and the offset behind it; present while loaded.
    head: Option<(KvChange, usize)>,
    head_commit: Ts,
    rows: u64,
}

impl Run {
    /// Rows not yet read.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes of the files not yet deleted.
    pub(crate) fn disk(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Commit ts of the next row; `None` at the end. Needs no loading.
    pub(crate) fn head_commit(&self) -> Option<Ts> {
        (self.rows > 0).then_some(self.head_commit)
    }

    /// The next row; `None` at the end or while not loaded.
    pub(crate) fn head(&self) -> Option<&KvChange> {
        self.head.as_ref().map(|(change, _)| change)
    }

    /// Reads the block of the next row, if it isn't there.
    pub(crate) fn load(&mut self) -> Result<(), MergeError> {
        if self.head.is_some() || self.rows == 0 {
            return Ok(());
        }
        let block = match &self.block {
            Some(block) => block.clone(),
            None => self.read_block()?,
        };
        let head = block::get_row(&block, self.cursor).ok_or_else(|| self.damaged("a row is cut short"))?;
        self.head_commit = head.0.commit_ts;
        self.head = Some(head);
        Ok(())
    }

    /// Takes the next row and loads the one behind it.
    pub(crate) fn next(&mut self) -> Result<Option<KvChange>, MergeError> {
        self.load()?;
        let Some((change, behind)) = self.head.take() else {
            return Ok(None);
        };
        self.rows -= 1;
        self.cursor = behind;
        if self.block.as_ref().is_some_and(|block| behind >= block.len()) {
            self.next_block();
        }
        self.load()?;
        Ok(Some(change))
    }

    /// Forgets what is loaded; the next reading loads it again.
    pub(crate) fn unload(&mut self) {
        self.head = None;
        self.file = None;
        self.drop_block();
    }

    /// A second reader at the same place; the files live until both are done with them.
    pub(crate) fn fork(&self) -> Self {
        Self {
            segments: self.segments.clone(),
            account: self.account.clone(),
            file: None,
            at: self.at,
            stored: 0,
            block: None,
            cursor: self.cursor,
            head: None,
            head_commit: self.head_commit,
            rows: self.rows,
        }
    }

    fn read_block(&mut self) -> Result<Bytes, MergeError> {
        let path = self.path();
        let read_failed = MergeError::io("read", &path);
        let file = match self.file.take() {
            Some(file) => file,
            None => File::open(&path).map_err(MergeError::io("open", &path))?,
        };
        let file = self.file.insert(file);
        let size = self.segments.front().map_or(0, |segment| segment.bytes);
        let damaged = |what| MergeError::Damaged {
            path: path.clone(),
            offset: self.at,
            what,
        };
        let cut = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => damaged("the file is cut short"),
            _ => read_failed(error),
        };
        let mut header = [0; HEADER];
        if let Err(error) = file.read_exact_at(&mut header, self.at) {
            return Err(cut(error));
        }
        let header = BlockHeader::parse(header);
        let behind = self.at + HEADER as u64 + u64::from(header.stored);
        if behind > size {
            return Err(damaged("a block reaches past the end of the file"));
        }
        let mut stored = vec![0; header.stored as usize];
        if let Err(error) = file.read_exact_at(&mut stored, self.at + HEADER as u64) {
            return Err(cut(error));
        }
        let raw = header.open(stored).map_err(damaged)?;
        self.stored = behind - self.at;
        self.account.add(raw.len());
        self.block = Some(raw.clone());
        Ok(raw)
    }

    fn next_block(&mut self) {
        self.drop_block();
        self.cursor = 0;
        self.at += self.stored;
        if self
            .segments
            .front()
            .is_some_and(|segment| self.at >= segment.bytes)
        {
            self.file = None;
            self.at = 0;
            self.segments.pop_front();
        }
    }

    fn drop_block(&mut self) {
        if let Some(block) = self.block.take() {
            self.account.sub(block.len());
        }
    }

    fn path(&self) -> PathBuf {
        self.segments
            .front()
            .map(|segment| segment.path.clone())
            .unwrap_or_default()
    }

    fn damaged(&self, what: &'static str) -> MergeError {
        MergeError::Damaged {
            path: self.path(),
            offset: self.at,
            what,
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.drop_block();
    }
}
