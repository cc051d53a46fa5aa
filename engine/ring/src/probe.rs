//! Setting up io_uring, and saying precisely why it cannot be.

use std::ffi::CStr;
use std::io;

use io_uring::{IoUring, Probe, opcode};

use crate::error::ProbeError;

/// Every operation that the ring uses.
const OPERATIONS: &[(&str, u8)] = &[
    ("ACCEPT", opcode::AcceptMulti::CODE),
    ("ASYNC_CANCEL", opcode::AsyncCancel2::CODE),
    ("CLOSE", opcode::Close::CODE),
    ("CONNECT", opcode::Connect::CODE),
    ("FADVISE", opcode::Fadvise::CODE),
    ("FALLOCATE", opcode::Fallocate::CODE),
    ("FSYNC", opcode::Fsync::CODE),
    ("LINK_TIMEOUT", opcode::LinkTimeout::CODE),
    ("MADVISE", opcode::Madvise::CODE),
    ("POLL_ADD", opcode::PollAdd::CODE),
    ("READ", opcode::Read::CODE),
    ("RECV", opcode::RecvMulti::CODE),
    ("SENDMSG", opcode::SendMsg::CODE),
    ("SYNC_FILE_RANGE", opcode::SyncFileRange::CODE),
    ("TIMEOUT", opcode::Timeout::CODE),
    ("WRITE", opcode::Write::CODE),
];

/// Makes a ring with the flags of the data ring.
///
/// `SINGLE_ISSUER` and `DEFER_TASKRUN`: completions are worked on only when this thread asks for it.
/// `COOP_TASKRUN`: no interrupt to tell us. `TASKRUN_FLAG`: a flag in memory says when there is such work.
/// `SUBMIT_ALL`: one bad entry does not stop those behind it. `CQSIZE`: multishot operations complete more
/// often than they are submitted.
pub(crate) fn set_up(sq_entries: u32, cq_entries: u32) -> Result<IoUring, ProbeError> {
    IoUring::builder()
        .dontfork()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_coop_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_cqsize(cq_entries)
        .build(sq_entries)
        .map_err(explain_now)
}

/// What `error` means on this machine.
pub(crate) fn explain_now(error: io::Error) -> ProbeError {
    explain(error, &Facts::read())
}

/// Makes a small ring, asks it for its operations, and drops it.
pub(crate) fn probe() -> Result<(), ProbeError> {
    let ring = set_up(4, 8)?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(ProbeError::Other)?;
    check_operations(|code| probe.is_supported(code), &Facts::read())
}

fn check_operations(supported: impl Fn(u8) -> bool, facts: &Facts) -> Result<(), ProbeError> {
    let names: Vec<_> =
        OPERATIONS.iter().filter(|(_, code)| !supported(*code)).map(|(name, _)| *name).collect();
    if names.is_empty() {
        Ok(())
    } else {
        Err(ProbeError::MissingOperations { names, kernel: facts.kernel.clone() })
    }
}

/// What tells causes apart that share an error number.
struct Facts {
    kernel: String,
    sysctl_disabled: u32,
    memlock: Option<u64>,
}

impl Facts {
    fn read() -> Facts {
        let sysctl = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
        Facts {
            kernel: kernel_release(),
            sysctl_disabled: sysctl.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0),
            memlock: memlock_limit(),
        }
    }
}

fn explain(error: io::Error, facts: &Facts) -> ProbeError {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => ProbeError::NotImplemented { kernel: facts.kernel.clone() },
        // With 1 the kernel lets the group and CAP_SYS_ADMIN through; EPERM then means that we are neither.
        Some(libc::EPERM | libc::EACCES) if facts.sysctl_disabled > 0 => {
            ProbeError::DisabledBySysctl { value: facts.sysctl_disabled }
        }
        Some(libc::EPERM | libc::EACCES) => ProbeError::DeniedBySandbox,
        Some(libc::ENOMEM) => ProbeError::LockedMemory { limit: facts.memlock },
        Some(libc::EMFILE | libc::ENFILE) => ProbeError::Descriptors,
        Some(libc::EINVAL) => ProbeError::KernelTooOld { kernel: facts.kernel.clone() },
        _ => ProbeError::Other(error),
    }
}

fn kernel_release() -> String {
    // SAFETY: all-zero is a valid `utsname`.
    let mut name: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: `uname` fills the struct it is given.
    if unsafe { libc::uname(&mut name) } != 0 {
        return "unknown".into();
    }
    // SAFETY: `uname` ends the field with a NUL; the struct outlives the borrow.
    unsafe { CStr::from_ptr(name.release.as_ptr()) }.to_string_lossy().into_owned()
}

fn memlock_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: fills the struct it is given.
    let done = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) } == 0;
    (done && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(sysctl_disabled: u32) -> Facts {
        Facts { kernel: "5.15.0".into(), sysctl_disabled, memlock: Some(65536) }
    }

    #[test]
    fn each_cause_has_its_own_message_and_remedy() {
        let cases = [
            (libc::ENOSYS, 0, "deploy/container/seccomp.json"),
            (libc::EPERM, 0, "deploy/container/seccomp.json"),
            (libc::EPERM, 1, "kernel.io_uring_group"),
            (libc::EPERM, 2, "sysctl -w kernel.io_uring_disabled=0"),
            (libc::ENOMEM, 0, "LimitMEMLOCK"),
            (libc::EMFILE, 0, "LimitNOFILE"),
            (libc::EINVAL, 0, "5.15.0"),
            (libc::EIO, 0, "os error 5"),
        ];
        let mut seen = std::collections::HashSet::new();
        for (errno, sysctl, needle) in cases {
            let text = explain(io::Error::from_raw_os_error(errno), &facts(sysctl)).to_string();
            assert!(text.contains(needle), "{text}");
            assert!(!text.contains('\n') && seen.insert(text));
        }
    }

    #[test]
    fn missing_operations_are_named() {
        let error = check_operations(|code| code != opcode::SendMsg::CODE, &facts(0)).unwrap_err();
        assert!(error.to_string().contains("SENDMSG") && error.to_string().contains("5.15.0"), "{error}");
        assert!(check_operations(|_| true, &facts(0)).is_ok());
    }
}
