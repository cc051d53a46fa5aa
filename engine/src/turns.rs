//! How soon a thread gets its turn on a core that others keep busy.

use std::io;

/// Nanoseconds of a turn: the least that the kernel takes.
const TURN_NS: u64 = 100_000;

/// Asks the kernel for short turns of the calling thread, which come sooner in return: one that answers people beside shards
/// and others who use all of a core waits for it less than the 4 ms of a tick. Its share of the core stays the same.
/// Kernels older than 6.12 take it and change nothing.
///
/// # Errors
/// The kernel or a sandbox refuses.
pub fn come_soon() -> io::Result<()> {
    let mut wanted = now()?;
    wanted.sched_runtime = TURN_NS;
    // SAFETY: the structure lives on this stack frame and says its own size; 0 is the calling thread.
    match unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const wanted, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn now() -> io::Result<libc::sched_attr> {
    // SAFETY: the structure is plain integers, for which zero is a value.
    let mut found: libc::sched_attr = unsafe { std::mem::zeroed() };
    let size = size_of_val(&found);
    // SAFETY: the structure is writable and of the size that is passed; 0 is the calling thread.
    match unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut found, size, 0) } {
        0 => Ok(found),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_turns_of_the_calling_thread_change() {
        let before = now().unwrap();
        std::thread::spawn(|| {
            let before = now().unwrap();
            come_soon().unwrap();
            let after = now().unwrap();
            assert!(
                [TURN_NS, before.sched_runtime].contains(&after.sched_runtime),
                "{}",
                after.sched_runtime
            );
            assert_eq!((after.sched_policy, after.sched_nice), (before.sched_policy, before.sched_nice));
        })
        .join()
        .unwrap();
        assert_eq!(now().unwrap().sched_runtime, before.sched_runtime);
    }
}
