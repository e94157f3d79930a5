//! RocksDB's options, with reasons.

use std::path::Path;

use rocksdb::{ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, LogLevel, Options};

use crate::schema::{JOURNAL, META, PAYLOADS};

/// Payloads from this size on stand beside the sorted tables, so that compactions do not copy them again and again.
const BLOB_BYTES_MIN: u64 = 4 * 1024;
/// Files of RocksDB's own log that are kept; it begins one at each open.
const LOG_FILES_MAX: usize = 4;
/// Of the 1,024 file descriptors that a process commonly has, the rest is for connections.
const OPEN_FILES_MAX: i32 = 256;

pub(crate) fn open(dir: &Path) -> Result<DB, rocksdb::Error> {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_paranoid_checks(true);
    // A torn tail of the write-ahead log is cut; anything else that is wrong in it is an error. (RocksDB's default would
    // drop all that comes after a damaged record without a word.)
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(LOG_FILES_MAX);
    options.set_max_open_files(OPEN_FILES_MAX);
    let families = [(JOURNAL, compressed()), (PAYLOADS, with_blobs()), (META, Options::default())];
    DB::open_cf_descriptors(&options, dir, families.map(|(name, options)| ColumnFamilyDescriptor::new(name, options)))
}

fn compressed() -> Options {
    let mut options = Options::default();
    options.set_compression_type(DBCompressionType::Zstd);
    options
}

fn with_blobs() -> Options {
    let mut options = compressed();
    options.set_enable_blob_files(true);
    options.set_min_blob_size(BLOB_BYTES_MIN);
    options.set_blob_compression_type(DBCompressionType::Zstd);
    options.set_enable_blob_gc(true);
    options
}
