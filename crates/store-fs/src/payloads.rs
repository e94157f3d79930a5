//! Payload files: a folder a step, a file a payload.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use elastic_flow_receipt::StepId;
use elastic_flow_store::{
    Durability, PAYLOAD_BYTES_MAX, StoreError, StoredPayload, check_name, check_payload, is_valid_name,
};

use crate::codec::{PAYLOAD_HEADER_BYTES, PayloadHeader};
use crate::disk::{Disk, TEMP_SUFFIX};

const FOLDER_NAME: &str = "payloads";
const SUFFIX: &str = ".zst";
/// What is made room for before anything is decoded; more only as it comes.
const DECODED_RESERVE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The payload files of a store.
#[derive(Debug)]
pub(crate) struct Payloads {
    folder: PathBuf,
    compression_level: i32,
    /// Steps whose folder is on the disk. Putting holds it for reading, so that no folder goes while a file comes into it.
    steps: RwLock<BTreeSet<StepId>>,
}

impl Payloads {
    /// Makes the folder if it is not there, and sweeps what a crash has left. Says how many temporary files that were. For a look,
    /// nothing is made or swept.
    pub(crate) fn open(disk: &Disk, compression_level: i32) -> Result<(Self, u64), StoreError> {
        let folder = disk.root().join(FOLDER_NAME);
        if disk.mends() {
            disk.create_dir(&folder)?;
            disk.sync_dir(disk.root())?;
        }
        let steps = RwLock::new(BTreeSet::new());
        let payloads = Self { folder, compression_level, steps };
        let mut swept = 0;
        for step in payloads.folders(disk)? {
            let folder = payloads.step_folder(step);
            swept += disk.sweep(&folder)?;
            if disk.mends() && disk.names(&folder)?.is_empty() {
                disk.remove_dir(&folder)?;
            }
        }
        Ok((payloads, swept))
    }

    pub(crate) fn put(
        &self,
        disk: &Disk,
        step: StepId,
        name: &str,
        payload: &[u8],
        durability: Durability,
    ) -> Result<(), StoreError> {
        check_name(disk.url(), name)?;
        check_payload(disk.url(), name, payload)?;
        let path = self.path(step, name);
        let header = PayloadHeader { raw_bytes: payload.len() as u64, raw_crc: crc32fast::hash(payload) }.encode();
        let body = zstd::bulk::compress(payload, self.compression_level)
            .map_err(|error| disk.failed("compress for", &path, payload.len() as u64, error))?;
        let _held = self.with_folder(disk, step)?;
        let file = disk.replace(&path, durability == Durability::Synced, |temp, file| {
            disk.write(temp, file, &header)?;
            disk.write(temp, file, &body)
        })?;
        drop(file);
        Ok(())
    }

    pub(crate) fn get(&self, disk: &Disk, step: StepId, name: &str) -> Result<Option<Bytes>, StoreError> {
        check_name(disk.url(), name)?;
        let path = self.path(step, name);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(disk.failed("open", &path, 0, error)),
        };
        let mut header = [0; PAYLOAD_HEADER_BYTES];
        let mut body = Vec::new();
        file.read_exact(&mut header).and_then(|()| file.read_to_end(&mut body)).map_err(|error| {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                disk.corrupt(&path, 0, "the payload ends within its header")
            } else {
                disk.failed("read", &path, 0, error)
            }
        })?;
        decode(&header, &body)
            .map(|payload| Some(payload.into()))
            .map_err(|(offset, detail)| disk.corrupt(&path, offset, detail))
    }

    pub(crate) fn list(&self, disk: &Disk, step: StepId) -> Result<Vec<StoredPayload>, StoreError> {
        let folder = self.step_folder(step);
        let mut payloads = Vec::new();
        for file_name in disk.names(&folder)? {
            let Some(name) = file_name.to_str().and_then(payload_name) else { continue };
            match fs::metadata(folder.join(&file_name)) {
                Ok(metadata) => payloads.push(StoredPayload { name: name.to_owned(), stored_bytes: metadata.len() }),
                // Deleted since its folder was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(disk.failed("measure", &folder.join(&file_name), 0, error)),
            }
        }
        // The suffix has moved a name that is the beginning of another.
        payloads.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(payloads)
    }

    pub(crate) fn delete(&self, disk: &Disk, step: StepId, name: &str) -> Result<(), StoreError> {
        check_name(disk.url(), name)?;
        disk.remove(&self.path(step, name)).map(drop)
    }

    pub(crate) fn delete_step(&self, disk: &Disk, step: StepId) -> Result<(), StoreError> {
        let mut steps = self.write_steps();
        steps.remove(&step);
        let folder = self.step_folder(step);
        for name in disk.names(&folder)? {
            let is_ours = name.to_str().is_some_and(|name| payload_name(name).is_some() || name.ends_with(TEMP_SUFFIX));
            if is_ours {
                disk.remove(&folder.join(name))?;
            }
        }
        disk.remove_dir(&folder)
    }

    /// The steps with a payload; the folder of one whose last payload was deleted may still be there.
    pub(crate) fn steps(&self, disk: &Disk) -> Result<Vec<StepId>, StoreError> {
        let mut steps = Vec::new();
        for step in self.folders(disk)? {
            let names = disk.names(&self.step_folder(step))?;
            if names.iter().any(|name| name.to_str().is_some_and(|name| payload_name(name).is_some())) {
                steps.push(step);
            }
        }
        Ok(steps)
    }

    fn folders(&self, disk: &Disk) -> Result<Vec<StepId>, StoreError> {
        let names = disk.names(&self.folder)?;
        let mut steps: Vec<StepId> = names.iter().filter_map(|name| parse_step(name.to_str()?)).collect();
        steps.sort_unstable();
        Ok(steps)
    }

    /// Sees to it that the step's folder is on the disk, and stays while the guard is held.
    fn with_folder(&self, disk: &Disk, step: StepId) -> Result<RwLockReadGuard<'_, BTreeSet<StepId>>, StoreError> {
        loop {
            let steps = self.steps.read().unwrap_or_else(PoisonError::into_inner);
            if steps.contains(&step) {
                return Ok(steps);
            }
            drop(steps);
            let mut steps = self.write_steps();
            if !steps.contains(&step) {
                disk.create_dir(&self.step_folder(step))?;
                disk.sync_dir(&self.folder)?;
                steps.insert(step);
            }
        }
    }

    fn write_steps(&self) -> RwLockWriteGuard<'_, BTreeSet<StepId>> {
        self.steps.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn step_folder(&self, step: StepId) -> PathBuf {
        self.folder.join(step.0.to_string())
    }

    fn path(&self, step: StepId, name: &str) -> PathBuf {
        self.step_folder(step).join(format!("{name}{SUFFIX}"))
    }
}

/// The payload's name, if the file is one.
fn payload_name(file_name: &str) -> Option<&str> {
    file_name.strip_suffix(SUFFIX).filter(|name| is_valid_name(name))
}

/// The step of a folder, if it has the name that we would give it.
fn parse_step(name: &str) -> Option<StepId> {
    let step = name.parse().ok()?;
    (Path::new(name) == Path::new(&u64::to_string(&step))).then_some(StepId(step))
}

/// The payload, or where the file is wrong, and what is.
fn decode(header: &[u8; PAYLOAD_HEADER_BYTES], body: &[u8]) -> Result<Vec<u8>, (u64, String)> {
    let header = PayloadHeader::decode(header).map_err(|detail| (0, detail.to_owned()))?;
    let PayloadHeader { raw_bytes, raw_crc } = header;
    if raw_bytes > PAYLOAD_BYTES_MAX {
        return Err((0, format!("a payload of {raw_bytes} bytes, over the limit of {PAYLOAD_BYTES_MAX}")));
    }
    let in_body = |detail: String| (PAYLOAD_HEADER_BYTES as u64, detail);
    let reserve = usize::try_from(raw_bytes.min(DECODED_RESERVE_BYTES_MAX)).unwrap_or_default();
    let mut payload = Vec::with_capacity(reserve);
    // One byte more than there should be: enough to notice, and all that a forged frame can make us decode.
    zstd::stream::read::Decoder::with_buffer(body)
        .and_then(|decoder| decoder.take(raw_bytes + 1).read_to_end(&mut payload))
        .map_err(|error| in_body(format!("the payload cannot be decompressed: {error}")))?;
    if payload.len() as u64 != raw_bytes {
        return Err(in_body(format!("the payload is not of the {raw_bytes} bytes that its header says")));
    }
    if crc32fast::hash(&payload) != raw_crc {
        return Err(in_body("the payload's checksum does not match".to_owned()));
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(raw_bytes: u64, content: &[u8]) -> [u8; PAYLOAD_HEADER_BYTES] {
        PayloadHeader { raw_bytes, raw_crc: crc32fast::hash(content) }.encode()
    }

    #[test]
    fn a_frame_that_decodes_to_more_than_was_said_is_stopped_at_once() {
        let bomb = zstd::bulk::compress(&vec![0; 64 * 1024 * 1024], 19).unwrap();
        let (offset, detail) = decode(&header(10, &[0; 10]), &bomb).unwrap_err();
        assert_eq!(offset, PAYLOAD_HEADER_BYTES as u64);
        assert!(detail.contains("10 bytes"), "{detail}");
    }

    #[test]
    fn a_length_that_no_payload_has_is_refused_before_any_room_is_made() {
        let (offset, detail) = decode(&header(u64::MAX, b""), b"").unwrap_err();
        assert_eq!(offset, 0);
        assert!(detail.contains("over the limit"), "{detail}");
    }

    #[test]
    fn a_payload_shorter_or_other_than_said_is_refused() {
        let body = zstd::bulk::compress(b"0123456789", 1).unwrap();
        assert_eq!(decode(&header(10, b"0123456789"), &body).unwrap(), b"0123456789");
        assert!(decode(&header(11, b"0123456789"), &body).unwrap_err().1.contains("11 bytes"));
        assert!(decode(&header(10, b"012345678_"), &body).unwrap_err().1.contains("checksum"));
        assert!(decode(&header(10, b"0123456789"), &body[..5]).unwrap_err().1.contains("decompressed"));
    }

    #[test]
    fn only_folders_that_we_would_name_so_are_steps() {
        assert_eq!(parse_step("17"), Some(StepId(17)));
        for name in ["017", "+17", "17 ", "", "-1", "99999999999999999999", "lost+found"] {
            assert_eq!(parse_step(name), None, "{name}");
        }
    }
}
