//! Finds libbw by pkg-config, or builds it (feature `vendored`), and tells cargo how to link it.

use std::env;
use std::process::exit;

#[cfg(not(feature = "vendored"))]
use installed as library;
#[cfg(feature = "vendored")]
use vendored as library;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=DOCS_RS");
    // Documentation links nothing, and docs.rs has no libbw.
    if env::var_os("DOCS_RS").is_some() {
        return;
    }
    let include = library::link();
    // Crates that depend on this one see it as DEP_BW_INCLUDE; the tests compare the declarations with what lies there.
    println!("cargo::metadata=include={include}");
    println!("cargo::rustc-env=BW_INCLUDE={include}");
}

/// The library that is installed on this machine.
#[cfg(not(feature = "vendored"))]
mod installed {
    /// Links it and returns where its headers are.
    pub fn link() -> String {
        let found = super::probe(
            "bw",
            "0.1",
            "Install it (cmake --install) and, if its prefix is not the system's, set PKG_CONFIG_PATH to its \
             lib/pkgconfig; or build it along with this crate: feature `vendored`.",
        );
        if cfg!(feature = "static") {
            super::link_statically("bw");
            super::link_statically("uring");
            for name in found.libs.iter().filter(|name| *name != "bw" && *name != "uring") {
                println!("cargo::rustc-link-lib={name}");
            }
        }
        super::variable("bw", "includedir")
    }
}

/// The library from the sources in `core`.
#[cfg(feature = "vendored")]
mod vendored {
    use std::path::{Path, PathBuf};
    use std::{env, fs};

    /// Builds and links it and returns where its headers are.
    pub fn link() -> String {
        let uring = super::probe("liburing", "2.3", "Install its development files (Debian: liburing-dev).");
        let core = Path::new(&env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("core");
        println!("cargo::rerun-if-changed={}", core.display());
        build(&core, &uring.include_paths);
        if cfg!(feature = "static") {
            super::link_statically("uring");
        }
        core.join("include").display().to_string()
    }

    /// As CMakeLists.txt does it for the static library; asserts are there where Rust's are.
    fn build(core: &Path, uring_include: &[PathBuf]) {
        let mut build = cc::Build::new();
        build.cpp(true).std("c++20").opt_level(2).pic(true).warnings(false);
        build.files(sources(&core.join("src")));
        build.include(core.join("include")).include(core.join("src")).includes(uring_include);
        for flag in ["-fvisibility=hidden", "-fvisibility-inlines-hidden", "-ftls-model=initial-exec"] {
            build.flag(flag);
        }
        for flag in ["-fno-gnu-unique", "-fstack-clash-protection", "-fcf-protection"] {
            build.flag_if_supported(flag);
        }
        build.flag("-U_FORTIFY_SOURCE").define("_FORTIFY_SOURCE", "2");
        if env::var_os("CARGO_CFG_DEBUG_ASSERTIONS").is_none() {
            build.define("NDEBUG", None);
        }
        build.compile("bw");
    }

    fn sources(directory: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(directory).expect("the sources of the core are in the package");
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "cc"));
        files.sort();
        files
    }
}

/// Asks pkg-config, which links what it finds unless that is to be static. Ends with `advice` if there is nothing.
fn probe(name: &str, version: &str, advice: &str) -> pkg_config::Library {
    let statik = cfg!(feature = "static");
    let mut config = pkg_config::Config::new();
    config.atleast_version(version).statik(statik).cargo_metadata(!statik);
    config
        .probe(name)
        .unwrap_or_else(|error| give_up(&format!("{name} {version} or later is not found. {advice}"), &error))
}

/// Links lib`name`.a, which must lie where its pkg-config file says.
fn link_statically(name: &str) {
    let package = if name == "uring" { "liburing" } else { name };
    println!("cargo::rustc-link-search=native={}", variable(package, "libdir"));
    println!("cargo::rustc-link-lib=static={name}");
}

fn variable(package: &str, name: &str) -> String {
    pkg_config::get_variable(package, name)
        .unwrap_or_else(|error| give_up(&format!("pkg-config does not know {name} of {package}."), &error))
}

fn give_up(message: &str, error: &pkg_config::Error) -> ! {
    println!("cargo::error={message}");
    for line in error.to_string().lines().filter(|line| !line.is_empty()) {
        println!("cargo::error={line}");
    }
    exit(1)
}
