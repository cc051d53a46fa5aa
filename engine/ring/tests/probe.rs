//! The preflight: on this machine, and behind seccomp filters that containers use.

use ringseed_ring::{ProbeError, Ring, RingConfig, RingError};

#[test]
fn this_machine_passes() {
    Ring::probe().unwrap();
}

/// Makes `io_uring_setup` fail with `errno` for the calling thread, as a container's profile does.
fn forbid_io_uring(errno: i32) {
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let ret = libc::BPF_RET | libc::BPF_K;
    let instruction = |code: u32, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf, k };
    let mut filter = [
        // The number of the system call is the first field of `seccomp_data`.
        instruction(load, 0, 0),
        instruction(equal, 1, libc::SYS_io_uring_setup as u32),
        instruction(ret, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
        instruction(ret, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: both calls only restrict this thread; the program outlives the call.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
    }
}

fn behind(errno: i32) -> (ProbeError, RingError) {
    // The filter dies with its thread.
    std::thread::spawn(move || {
        forbid_io_uring(errno);
        let ring = Ring::new(&RingConfig::default()).map(drop).unwrap_err().to_string();
        let probe = Ring::probe().unwrap_err();
        assert_eq!(probe.to_string(), ring);
        (probe, Ring::new(&RingConfig::default()).map(drop).unwrap_err())
    })
    .join()
    .unwrap()
}

#[test]
fn a_seccomp_profile_with_eperm_is_named() {
    let (probe, ring) = behind(libc::EPERM);
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    if matches!(disabled.trim(), "" | "0") {
        assert!(matches!(probe, ProbeError::DeniedBySandbox), "{probe:?}");
        assert!(probe.to_string().contains("seccomp"));
    }
    assert!(matches!(ring, RingError::Setup(_)));
}

#[test]
fn a_seccomp_profile_with_enosys_is_named() {
    let (probe, _) = behind(libc::ENOSYS);
    assert!(matches!(&probe, ProbeError::NotImplemented { kernel } if !kernel.is_empty()), "{probe:?}");
}

#[test]
fn other_causes_are_told_apart() {
    assert!(matches!(behind(libc::ENOMEM).0, ProbeError::LockedMemory { .. }));
    assert!(matches!(behind(libc::EINVAL).0, ProbeError::KernelTooOld { .. }));
    assert!(matches!(behind(libc::EMFILE).0, ProbeError::Descriptors));
    assert!(matches!(behind(libc::EIO).0, ProbeError::Other(_)));
}
