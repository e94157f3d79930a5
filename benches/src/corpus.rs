//! Text of a seed: made once, kept, and verified by its checksum each time it is used.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

/// What `cargo xtask corpus` runs: one way to make such text, for people and benches.
#[path = "../../xtask/src/corpus.rs"]
mod xtask;

/// The seed of all text.
const SEED: u64 = 1;
/// Bytes that are read at once.
const BLOCK_BYTES: usize = 1 << 20;

/// The text of `bytes` bytes with `distinct` different words, in `folder`.
///
/// # Errors
/// It cannot be written or read, or is not what was written.
pub fn text(folder: &Path, bytes: u64, distinct: u64) -> anyhow::Result<PathBuf> {
    let path = folder.join(format!("text-{bytes}-{distinct}-{SEED}"));
    let noted = path.with_extension("crc32");
    if let Ok(note) = fs::read_to_string(&noted)
        && let Ok(found) = crc32(&path)
        && found == note
    {
        return Ok(path);
    }
    fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
    let fresh = path.with_extension(format!("{}.tmp", std::process::id()));
    let numbers = [("--bytes", bytes), ("--distinct", distinct), ("--seed", SEED)];
    let mut args: Vec<String> =
        numbers.into_iter().flat_map(|(flag, number)| [flag.to_owned(), number.to_string()]).collect();
    args.extend(["--output".to_owned(), fresh.to_string_lossy().into_owned()]);
    let written = xtask::Corpus::from_args(&args)?.write()?.to_string();
    let found = crc32(&fresh)?;
    ensure!(written.ends_with(&found), "{} has the crc32 {found}, but was written as {written}", fresh.display());
    fs::rename(&fresh, &path).with_context(|| format!("failed to make {}", path.display()))?;
    fs::write(&noted, found).with_context(|| format!("failed to write {}", noted.display()))?;
    Ok(path)
}

/// The checksum of a file, as hexadecimal. It leaves the file in the system's cache, where both sides of a pair find it.
fn crc32(path: &Path) -> anyhow::Result<String> {
    let at = || format!("failed to read {}", path.display());
    let mut file = File::open(path).with_context(at)?;
    let mut block = vec![0; BLOCK_BYTES];
    let mut crc = crc32fast::Hasher::new();
    loop {
        let length = file.read(&mut block).with_context(at)?;
        if length == 0 {
            return Ok(format!("{:08x}", crc.finalize()));
        }
        crc.update(block.get(..length).unwrap_or_default());
    }
}
