//! Other people's clients, from npm and PyPI, as they are installed by `.ci/run`.
//!
//! Without them a test is skipped with one loud line, and fails where CI=true.

use std::path::{Path, PathBuf};

use tokio::process::Command;

/// Where the packages are.
pub fn packages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/node_modules")
}

/// Whether a program, and the packages that it is to run with, are there.
pub async fn is_here(program: &str, wanted: &[&str]) -> bool {
    let runs = Command::new(program).arg("--version").output().await.is_ok();
    let is_installed = wanted.iter().all(|package| packages().join(package).exists());
    let must = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!must || (runs && is_installed), "CI needs {program} with {wanted:?}: see .ci/run");
    if !(runs && is_installed) {
        println!("SKIPPED: {program} with {wanted:?} is not installed (see .ci/run)");
    }
    runs && is_installed
}

/// The Python of the packages from PyPI, if this one is there.
pub async fn python_with(package: &str) -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/py/bin/python");
    let import = Command::new(&python).args(["-c", &format!("import {package}")]).output().await;
    let is_here = import.is_ok_and(|ran| ran.status.success());
    let must = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!must || is_here, "CI needs Python with {package}: see .ci/run");
    if !is_here {
        println!("SKIPPED: Python with {package} is not installed (see .ci/run)");
    }
    is_here.then_some(python)
}
