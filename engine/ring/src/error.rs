//! Why there is no ring, with what to do about it.

use std::fmt;
use std::io;

/// How a container is let use io_uring; the file is in the source tree, the image and the package.
const USE_PROFILE: &str = "start it with --security-opt seccomp=seccomp.json, the profile in Ringseed's \
                           deploy/container/seccomp.json (in its image: /usr/share/ringseed/seccomp.json)";

/// Why [`Ring::new`](crate::Ring::new) failed.
#[derive(Debug)]
pub enum RingError {
    /// A value of [`RingConfig`](crate::RingConfig) is out of its range.
    Config(&'static str),
    /// The kernel does not give us such a ring.
    Setup(ProbeError),
    /// The receive buffers could not be allocated or registered.
    Buffers(io::Error),
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RingError::Config(what) => write!(f, "ring configuration: {what}"),
            RingError::Setup(error) => error.fmt(f),
            RingError::Buffers(error) => write!(f, "receive buffers of the ring: {error}"),
        }
    }
}

impl std::error::Error for RingError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RingError::Config(_) => None,
            RingError::Setup(error) => Some(error),
            RingError::Buffers(error) => Some(error),
        }
    }
}

/// What stands in the way of io_uring here. `Display` gives one line with the remedy.
#[derive(Debug)]
pub enum ProbeError {
    /// `ENOSYS`: the kernel is built without io_uring, or a seccomp profile pretends so (Podman's does).
    NotImplemented {
        /// `uname -r`.
        kernel: String,
    },
    /// `EPERM` and the sysctl `kernel.io_uring_disabled` is 1 (not for this user) or 2 (for nobody).
    DisabledBySysctl {
        /// Its value.
        value: u32,
    },
    /// `EPERM` although the sysctl allows it: a seccomp profile (Docker from 25, containerd from 2) or an LSM.
    DeniedBySandbox,
    /// `ENOMEM`: memory for the ring cannot be locked.
    LockedMemory {
        /// `RLIMIT_MEMLOCK`, soft, in bytes; `None` if unlimited.
        limit: Option<u64>,
    },
    /// `EMFILE` or `ENFILE`: no descriptor left for the ring.
    Descriptors,
    /// `EINVAL` for the set-up flags: the kernel is older than 6.1.
    KernelTooOld {
        /// `uname -r`.
        kernel: String,
    },
    /// The ring exists but lacks operations.
    MissingOperations {
        /// Their names as in `linux/io_uring.h`, without the prefix.
        names: Vec<&'static str>,
        /// `uname -r`.
        kernel: String,
    },
    /// Anything else.
    Other(io::Error),
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProbeError::NotImplemented { kernel } => write!(
                f,
                "io_uring is not available (ENOSYS, kernel {kernel}): in a container the seccomp profile hides it, \
                 {USE_PROFILE}; elsewhere run Linux 6.1 or later with CONFIG_IO_URING"
            ),
            ProbeError::DisabledBySysctl { value: 1 } => write!(
                f,
                "io_uring is reserved for a group (sysctl kernel.io_uring_disabled = 1): add this user to the \
                 group in kernel.io_uring_group, or run `sysctl -w kernel.io_uring_disabled=0`"
            ),
            ProbeError::DisabledBySysctl { value } => write!(
                f,
                "io_uring is switched off (sysctl kernel.io_uring_disabled = {value}): run \
                 `sysctl -w kernel.io_uring_disabled=0`"
            ),
            ProbeError::DeniedBySandbox => write!(
                f,
                "io_uring is denied (EPERM) by a seccomp profile or security module, which must allow io_uring_setup, \
                 io_uring_enter and io_uring_register: in a container {USE_PROFILE}"
            ),
            ProbeError::LockedMemory { limit: Some(limit) } => write!(
                f,
                "io_uring could not lock memory (ENOMEM, RLIMIT_MEMLOCK is {limit} bytes): raise it \
                 (`ulimit -l 65536`, systemd: LimitMEMLOCK=64M, docker: --ulimit memlock=67108864)"
            ),
            ProbeError::LockedMemory { limit: None } => {
                write!(f, "io_uring could not get memory (ENOMEM): free memory or raise the memory limit")
            }
            ProbeError::Descriptors => write!(
                f,
                "no file descriptor left for io_uring: raise the limit (`ulimit -n`, systemd: LimitNOFILE=)"
            ),
            ProbeError::KernelTooOld { kernel } => write!(
                f,
                "the kernel ({kernel}) refuses the io_uring set-up flags (EINVAL): Linux 6.1 or later is needed"
            ),
            ProbeError::MissingOperations { names, kernel } => write!(
                f,
                "the kernel ({kernel}) lacks io_uring operations: {}; Linux 6.1 or later is needed",
                names.join(", ")
            ),
            ProbeError::Other(error) => write!(f, "io_uring cannot be set up: {error}"),
        }
    }
}

impl std::error::Error for ProbeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ProbeError::Other(error) => Some(error),
            _ => None,
        }
    }
}
