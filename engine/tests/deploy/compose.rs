//! The compose files: what they name is there.

use crate::{deploy, python, run};
use std::process::Command;

#[test]
fn what_the_compose_files_name_is_there() {
    let said = run(Command::new(python()).arg(deploy("compose/validate.py")));
    assert!(said.contains("compose.yaml: ringseed") && said.contains("compose.vpn.yaml: gluetun"), "{said}");
}

#[test]
fn the_hook_refuses_what_is_no_port() {
    for port in ["", "x", "12a,3"] {
        let output = Command::new("sh").arg(deploy("compose/gluetun-port.sh")).arg(port).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{port}");
    }
}
