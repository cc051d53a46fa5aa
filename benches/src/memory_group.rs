//! A memory cgroup: a machine with less memory than data, in which page cache counts as memory.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// A memory cgroup of our own; dropped, it is removed when its processes have ended.
#[derive(Debug)]
pub struct MemoryGroup {
    directory: PathBuf,
    unified: bool,
}

impl MemoryGroup {
    /// Makes a group that may use `bytes` of memory and page cache together.
    ///
    /// # Errors
    /// There is no memory controller, or this user may not make a group.
    pub fn create(bytes: u64) -> io::Result<MemoryGroup> {
        let unified = Path::new("/sys/fs/cgroup/memory.stat").exists()
            || fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")
                .is_ok_and(|controllers| controllers.contains("memory"));
        let root = if unified { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/memory" };
        let directory = Path::new(root).join(format!("ringseed-bench-{}", std::process::id()));
        fs::create_dir(&directory)?;
        let group = MemoryGroup { directory, unified };
        let limit = if unified { "memory.max" } else { "memory.limit_in_bytes" };
        fs::write(group.directory.join(limit), bytes.to_string())?;
        Ok(group)
    }

    /// Moves a running process into the group. What it has in memory already stays charged elsewhere.
    ///
    /// # Errors
    /// It is gone.
    pub fn add(&self, pid: u32) -> io::Result<()> {
        fs::write(self.members(), pid.to_string())
    }

    /// A command that runs `program` in the group on core `cpu`.
    pub fn command(&self, cpu: usize, program: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$0\" && exec taskset -c \"$@\""]);
        command.arg(self.members()).arg(cpu.to_string()).arg(program);
        command
    }

    /// Drops the page cache that is charged to the group, also pages that somebody maps.
    ///
    /// # Errors
    /// The kernel has no such file.
    pub fn drop_cache(&self) -> io::Result<()> {
        let (file, words) =
            if self.unified { ("memory.reclaim", "100G") } else { ("memory.force_empty", "0") };
        match fs::write(self.directory.join(file), words) {
            // Less than all was reclaimed: what the processes hold stays.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EBUSY)) => Ok(()),
            outcome => outcome,
        }
    }

    fn members(&self) -> PathBuf {
        self.directory.join("cgroup.procs")
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // A group with processes cannot be removed: it is left, and empty once they end.
        let _ = fs::remove_dir(&self.directory);
    }
}
