//! From root to an ordinary user, once the ports are bound.

use std::ffi::CString;
use std::io;

/// An account to run as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    name: String,
    uid: libc::uid_t,
    gid: libc::gid_t,
}

/// Why the account cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The system does not know it.
    #[error("there is no user {0:?}")]
    Unknown(String),
    /// It is root.
    #[error("user {0:?} is root: nothing would be dropped")]
    Root(String),
    /// The kernel refuses.
    #[error("cannot become user {0:?}: {1}; only root and who has CAP_SETUID and CAP_SETGID can")]
    Refused(String, #[source] io::Error),
}

impl Account {
    /// Looks an account up by its name, in `/etc/passwd` or wherever the system keeps them.
    ///
    /// # Errors
    /// When there is none, or it is root.
    pub fn named(name: &str) -> Result<Account, AccountError> {
        let unknown = || AccountError::Unknown(name.to_owned());
        let c_name = CString::new(name).map_err(|_| unknown())?;
        let mut buffer = vec![0 as libc::c_char; 16384];
        // SAFETY: zeros are a valid `passwd`: null pointers.
        let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
        let mut found: *mut libc::passwd = std::ptr::null_mut();
        // SAFETY: all pointers are valid for the call, the buffer's length is right.
        let failed = unsafe {
            libc::getpwnam_r(c_name.as_ptr(), &mut entry, buffer.as_mut_ptr(), buffer.len(), &mut found)
        };
        if failed != 0 || found.is_null() {
            return Err(unknown());
        }
        if entry.pw_uid == 0 {
            return Err(AccountError::Root(name.to_owned()));
        }
        Ok(Account { name: name.to_owned(), uid: entry.pw_uid, gid: entry.pw_gid })
    }

    /// Becomes this user for good, with its group and its supplementary groups only.
    ///
    /// # Errors
    /// When the kernel refuses, or root could be got back.
    pub(crate) fn become_it(&self) -> Result<(), AccountError> {
        let refused = |error| AccountError::Refused(self.name.clone(), error);
        let check = |result: libc::c_int| match result {
            0 => Ok(()),
            _ => Err(refused(io::Error::last_os_error())),
        };
        let name = CString::new(&*self.name).map_err(|_| AccountError::Unknown(self.name.clone()))?;
        // SAFETY: plain system calls; the name is a C string. Groups first: a user could not change them any more.
        unsafe {
            check(libc::initgroups(name.as_ptr(), self.gid))?;
            check(libc::setgid(self.gid))?;
            check(libc::setuid(self.uid))?;
            if libc::setuid(0) == 0 {
                return Err(refused(io::Error::other("root could be got back")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_accounts_and_root_are_refused() {
        assert!(matches!(Account::named("no such user"), Err(AccountError::Unknown(_))));
        assert!(matches!(Account::named("a\0b"), Err(AccountError::Unknown(_))));
        assert!(matches!(Account::named("root"), Err(AccountError::Root(_))));
        assert_eq!(Account::named("nobody").unwrap().name, "nobody");
    }
}
