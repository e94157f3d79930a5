//! The journal: appending batches to the last segment, and rewriting it all as a new generation.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use elastic_flow_store::{Durability, StoreError, check_records};

use crate::codec::{RecordHeader, SEGMENT_HEADER_BYTES, SegmentHeader, check_of};
use crate::disk::Disk;
use crate::segment::{self, Position, TornTail};

const FIRST_GENERATION: u64 = 1;
/// Records of a rewrite are written in pieces of about this many bytes, and a buffer above it is given back.
const BUFFER_BYTES: usize = 1024 * 1024;

/// A segment that is complete up to `bytes`.
#[derive(Debug, Clone)]
struct Segment {
    path: PathBuf,
    bytes: u64,
}

/// The journal, open for appending.
#[derive(Debug)]
pub(crate) struct Journal {
    segment_bytes_max: u64,
    /// Segments of this generation, oldest first, but the last.
    full: Vec<Segment>,
    last: Segment,
    file: File,
    position: Position,
    has_unsynced: bool,
    buffer: Vec<u8>,
}

/// What was found when the journal was opened.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) records: u64,
    pub(crate) torn_tail: Option<TornTail>,
    pub(crate) old_segments: u64,
}

/// Segments of one generation, opened, so that they can be read while the journal changes.
#[derive(Debug)]
pub(crate) struct Snapshot {
    generation: u64,
    segments: Vec<(Segment, File)>,
}

impl Journal {
    /// Opens the journal in the store's folder, or begins one; verifies all of it, and takes off a torn tail. For a look, nothing
    /// is begun or taken off.
    pub(crate) fn open(disk: &Disk, segment_bytes_max: u64) -> Result<(Self, Found), StoreError> {
        let mut generations = segments_by_generation(disk)?;
        let Some((generation, indexes)) = generations.pop_last() else {
            if !disk.mends() {
                return Err(nothing(disk));
            }
            let (last, file, position) = begin(disk, FIRST_GENERATION, &mut std::iter::empty())?;
            return Ok((Self::at(segment_bytes_max, Vec::new(), last, file, position), Found::default()));
        };
        let mut found = Found::default();
        let mut position = Position { generation, index: 0, sequence: 0, previous: 0 };
        let mut segments: Vec<Segment> = Vec::with_capacity(indexes.len());
        for (place, index) in indexes.iter().enumerate() {
            position.index = u32::try_from(place).unwrap_or(u32::MAX);
            let path = segment_path(disk, generation, position.index);
            if *index != position.index {
                return Err(disk.corrupt(&path, 0, "the segment is missing, and later ones are there"));
            }
            let is_last = place + 1 == indexes.len();
            let (segment, end) = recover(disk, path, position, is_last, &mut found)?;
            segments.push(segment);
            position = end;
        }
        let Some(last) = segments.pop() else {
            return Err(disk.corrupt(&segment_path(disk, generation, 0), 0, "the generation has no segment"));
        };
        if disk.mends() && !generations.is_empty() {
            // The new generation's name has to stay when the old one's are gone.
            disk.sync_dir(disk.root())?;
        }
        for (generation, indexes) in generations {
            for index in indexes {
                let path = segment_path(disk, generation, index);
                found.old_segments += u64::from(!disk.mends() || disk.remove(&path)?);
            }
        }
        let file = if disk.mends() {
            disk.open_append(&last.path)?
        } else {
            File::open(&last.path).map_err(|error| disk.failed("open", &last.path, 0, error))?
        };
        Ok((Self::at(segment_bytes_max, segments, last, file, position), found))
    }

    const fn at(segment_bytes_max: u64, full: Vec<Segment>, last: Segment, file: File, position: Position) -> Self {
        Self { segment_bytes_max, full, last, file, position, has_unsynced: false, buffer: Vec::new() }
    }

    /// Bytes of all segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.full.iter().map(|segment| segment.bytes).sum::<u64>() + self.last.bytes
    }

    /// One write, and one sync if asked for.
    pub(crate) fn append(&mut self, disk: &Disk, batch: &[&[u8]], durability: Durability) -> Result<(), StoreError> {
        check_records(disk.url(), batch)?;
        if batch.is_empty() {
            return Ok(());
        }
        if self.last.bytes >= self.segment_bytes_max {
            self.roll(disk)?;
        }
        let mut position = self.position;
        self.buffer.clear();
        for (place, record) in batch.iter().enumerate() {
            encode(&mut self.buffer, &mut position, record, place + 1 == batch.len());
        }
        self.write(disk)?;
        self.last.bytes += self.buffer.len() as u64;
        self.position = position;
        self.has_unsynced = true;
        if self.buffer.capacity() > BUFFER_BYTES {
            self.buffer = Vec::new();
        }
        if durability == Durability::Synced {
            disk.sync(&self.last.path, &self.file)?;
            self.has_unsynced = false;
        }
        Ok(())
    }

    /// Writes the buffer at the end. What a failed write has left is cut off again; where that fails too, the store stops,
    /// for a batch after a broken one would be lost.
    fn write(&self, disk: &Disk) -> Result<(), StoreError> {
        let Err(error) = disk.write(&self.last.path, &self.file, &self.buffer) else { return Ok(()) };
        if disk.truncate(&self.last.path, &self.file, self.last.bytes).is_err() {
            disk.poison();
        }
        Err(error)
    }

    /// Begins the next segment. The one before is synced first: it must never be found torn.
    fn roll(&mut self, disk: &Disk) -> Result<(), StoreError> {
        if self.has_unsynced {
            disk.sync(&self.last.path, &self.file)?;
            self.has_unsynced = false;
        }
        let mut position = Position { index: self.position.index.saturating_add(1), ..self.position };
        let (last, file) = create(disk, &mut position, &mut std::iter::empty())?;
        self.full.push(std::mem::replace(&mut self.last, last));
        self.file = file;
        self.position = position;
        Ok(())
    }

    /// Replaces the whole journal by a new generation, and removes the old one.
    pub(crate) fn rewrite(
        &mut self,
        disk: &Disk,
        records: &mut dyn Iterator<Item = Vec<u8>>,
    ) -> Result<(), StoreError> {
        let (last, file, position) = begin(disk, self.position.generation.saturating_add(1), records)?;
        let mut old = std::mem::take(&mut self.full);
        old.push(std::mem::replace(&mut self.last, last));
        self.file = file;
        self.position = position;
        self.has_unsynced = false;
        for segment in old {
            // The rewrite is done; what stays is older than it, and is removed at the next open.
            disk.remove(&segment.path).ok();
        }
        Ok(())
    }

    /// The journal as it is now.
    pub(crate) fn snapshot(&self, disk: &Disk) -> Result<Snapshot, StoreError> {
        let segments = self.full.iter().chain([&self.last]).map(|segment| {
            let file = File::open(&segment.path).map_err(|error| disk.failed("open", &segment.path, 0, error))?;
            Ok((segment.clone(), file))
        });
        Ok(Snapshot { generation: self.position.generation, segments: segments.collect::<Result<_, StoreError>>()? })
    }
}

impl Snapshot {
    /// Gives every record to `visit`, verified again.
    pub(crate) fn replay(
        self,
        disk: &Disk,
        visit: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut position = Position { generation: self.generation, index: 0, sequence: 0, previous: 0 };
        for (index, (segment, file)) in (0..).zip(self.segments) {
            position.index = index;
            let extent = segment::read(disk, &segment.path, file, segment.bytes, position, visit)?;
            if extent.batches_bytes != segment.bytes {
                return Err(disk.corrupt(&segment.path, extent.batches_bytes, "a batch that was written is not whole"));
            }
            position = extent.position;
        }
        Ok(())
    }
}

/// Verifies a segment and, if it is the last, takes off its torn tail.
fn recover(
    disk: &Disk,
    path: PathBuf,
    at: Position,
    is_last: bool,
    found: &mut Found,
) -> Result<(Segment, Position), StoreError> {
    let failed = |error| disk.failed("open", &path, 0, error);
    let file = File::open(&path).map_err(failed)?;
    let file_bytes = file.metadata().map_err(failed)?.len();
    let extent = segment::read(disk, &path, file, file_bytes, at, &mut |_| Ok(()))?;
    let bytes = extent.batches_bytes;
    found.records += extent.records;
    if bytes < file_bytes {
        if !is_last {
            return Err(disk.corrupt(&path, bytes, "a batch is not whole, and later segments are there"));
        }
        if disk.mends() {
            let file = disk.open_append(&path)?;
            disk.truncate(&path, &file, bytes)?;
            disk.sync(&path, &file)?;
        }
        found.torn_tail = Some(TornTail { path: path.clone(), offset: bytes, bytes: file_bytes - bytes });
    }
    Ok((Segment { path, bytes }, extent.position))
}

/// Begins a generation with `records`.
fn begin(
    disk: &Disk,
    generation: u64,
    records: &mut dyn Iterator<Item = Vec<u8>>,
) -> Result<(Segment, File, Position), StoreError> {
    let mut position = Position { generation, index: 0, sequence: 0, previous: 0 };
    let (segment, file) = create(disk, &mut position, records)?;
    Ok((segment, file, position))
}

/// Makes the segment at `position` with `records`, each a batch of its own: the segment appears whole.
fn create(
    disk: &Disk,
    position: &mut Position,
    records: &mut dyn Iterator<Item = Vec<u8>>,
) -> Result<(Segment, File), StoreError> {
    let path = segment_path(disk, position.generation, position.index);
    let Position { generation, index, previous, .. } = *position;
    let header = SegmentHeader { generation, index, previous }.encode();
    position.previous = check_of(&header);
    let mut bytes = SEGMENT_HEADER_BYTES as u64;
    let file = disk.replace(&path, true, |temp, file| {
        let mut buffer = header.to_vec();
        for record in records {
            check_records(disk.url(), &[&record])?;
            let before = buffer.len();
            encode(&mut buffer, position, &record, true);
            bytes += (buffer.len() - before) as u64;
            if buffer.len() >= BUFFER_BYTES {
                disk.write(temp, file, &buffer)?;
                buffer.clear();
            }
        }
        if buffer.is_empty() { Ok(()) } else { disk.write(temp, file, &buffer) }
    })?;
    Ok((Segment { path, bytes }, file))
}

fn encode(buffer: &mut Vec<u8>, position: &mut Position, record: &[u8], is_last_of_batch: bool) {
    let header = RecordHeader {
        // Longer ones were refused.
        payload_bytes: u32::try_from(record.len()).unwrap_or(u32::MAX),
        is_last_of_batch,
        sequence: position.sequence,
        previous: position.previous,
        payload_crc: crc32fast::hash(record),
    };
    let header = header.encode();
    position.sequence += 1;
    position.previous = check_of(&header);
    buffer.extend_from_slice(&header);
    buffer.extend_from_slice(record);
}

fn segment_path(disk: &Disk, generation: u64, index: u32) -> PathBuf {
    disk.root().join(format!("journal-{generation:010}-{index:06}.log"))
}

fn parse_segment_name(name: &str) -> Option<(u64, u32)> {
    let (generation, index) = name.strip_prefix("journal-")?.strip_suffix(".log")?.split_once('-')?;
    Some((generation.parse().ok()?, index.parse().ok()?))
}

/// Refuses to look into a folder where nothing is.
pub(crate) fn check_there(disk: &Disk) -> Result<(), StoreError> {
    if segments_by_generation(disk)?.is_empty() { Err(nothing(disk)) } else { Ok(()) }
}

fn nothing(disk: &Disk) -> StoreError {
    let detail = "there is no store in this folder; name the one that a master was started on".to_owned();
    StoreError::Invalid { url: disk.url().to_owned(), detail }
}

/// The indexes of the segments that are there, in order, by generation.
fn segments_by_generation(disk: &Disk) -> Result<BTreeMap<u64, Vec<u32>>, StoreError> {
    let mut generations: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for name in disk.names(disk.root())? {
        let Some((generation, index)) = name.to_str().and_then(parse_segment_name) else { continue };
        if segment_path(disk, generation, index).file_name() != Some(&name) {
            return Err(disk.corrupt(Path::new(&name), 0, "not a name that a journal segment is given"));
        }
        generations.entry(generation).or_default().push(index);
    }
    generations.values_mut().for_each(|indexes| indexes.sort_unstable());
    Ok(generations)
}
