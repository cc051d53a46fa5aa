//! What was read from disk and written to it, and what the storage budgets have left.

use super::page::Page;
use prometheus::Result;
use ringseed_handle::StorageStatus;

pub(super) fn tell(page: &Page, storage: &StorageStatus) -> Result<()> {
    page.counter(
        "disk_read_bytes_total",
        "Bytes read from files: for peers, when they were not in memory; to verify, from wherever the kernel has them.",
        &["purpose"],
        [(vec!["serve"], storage.serving_read_bytes), (vec!["verify"], storage.verifying_read_bytes)],
    )?;
    page.counter(
        "disk_written_bytes_total",
        "Bytes of pieces written to files.",
        &[],
        [(vec![], storage.written_bytes)],
    )?;
    page.counter(
        "disk_past_cache_written_bytes_total",
        "Those bytes of pieces that were written past the page cache, as nobody connected lacked them.",
        &[],
        [(vec![], storage.past_cache_written_bytes)],
    )?;
    page.counter(
        "hashed_bytes_total",
        "Bytes that were hashed: of pieces from peers, and of files that were verified.",
        &["purpose"],
        [(vec!["download"], storage.hashed_bytes), (vec!["verify"], storage.verifying_read_bytes)],
    )?;
    page.counter(
        "storage_errors_total",
        "Errors of data files: of the disk, of the system, or because somebody changed them.",
        &[],
        [(vec![], storage.errors)],
    )?;
    for (name, help, value) in [
        ("read_ahead_bytes", "Bytes being read for peers now.", storage.read_ahead_bytes),
        ("read_ahead_max_bytes", "Most bytes being read for peers at once.", storage.read_ahead_bytes_max),
        ("loaded_bytes", "Bytes read for peers and held in the engine's own memory.", storage.loaded_bytes),
        ("dirty_bytes", "Bytes written to files and not durable yet.", storage.dirty_bytes),
        ("dirty_max_bytes", "Dirty bytes at which requesting waits.", storage.dirty_bytes_max),
        ("piece_memory_bytes", "Bytes of pieces between network and disk.", storage.piece_bytes),
        ("piece_memory_spare_bytes", "Bytes of buffers kept for pieces.", storage.spare_bytes),
        ("piece_memory_max_bytes", "Most of both together, by --memory.", storage.piece_bytes_max),
        (
            "torrents_waiting_for_memory",
            "Downloads that can begin no piece before others have given memory back.",
            storage.waiting_for_memory,
        ),
        ("maps", "Files mapped for sending.", storage.maps),
        ("mapped_bytes", "Bytes of those maps.", storage.mapped_bytes),
        ("open_data_files", "Data files and directories held open.", storage.open_files),
    ] {
        page.value(name, help, value as f64)?;
    }
    Ok(())
}
