//! The declarations are those of the C headers: every name, value, layout and signature.
//!
//! The declarations are read as text and said again in C, in a program that a C compiler compares with the headers:
//! a struct becomes a struct whose fields it holds against the real one's, a function becomes its type.

mod c_program;
mod declarations;

use std::collections::BTreeSet;
use std::path::Path;
use std::{env, fs};

use declarations::Declarations;

const HEADERS: [&str; 5] = ["bw.h", "batch.h", "errors.h", "export.h", "version.h"];

/// The macros for which Rust has other means.
const WITHOUT_A_COUNTERPART: [&str; 4] = ["BW_API", "BW_NOEXCEPT", "BW_ERROR_MAP", "BW_ERROR_ENUMERATOR"];

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

/// The headers one after another, without comments.
fn headers() -> String {
    let text: String = HEADERS.iter().map(|name| read(Path::new(env!("BW_INCLUDE")).join("bw").join(name))).collect();
    let (first, rest) = text.split_once("/*").expect("each header begins with a comment");
    let code = rest.split("/*").map(|piece| piece.split_once("*/").expect("a comment ends").1);
    std::iter::once(first).chain(code).collect()
}

/// All words of a text that begin with `prefix`.
fn words<'a>(text: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.starts_with(prefix)).collect()
}

fn assert_none_missing(expected: BTreeSet<&str>, declared: &BTreeSet<String>) {
    let missing: Vec<_> = expected.into_iter().filter(|name| !declared.contains(*name)).collect();
    assert!(missing.is_empty(), "not declared in Rust: {missing:?}");
}

#[test]
fn values_layouts_and_signatures_are_those_of_the_headers() {
    let program = c_program::of(&Declarations::read());
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    c_program::run(&program, directory, env!("BW_INCLUDE"));
}

#[test]
fn every_constant_of_the_headers_is_declared() {
    let code = headers();
    let mut expected = words(&code, "BW_");
    expected.retain(|name| !name.ends_with("_H") && !WITHOUT_A_COUNTERPART.contains(name));
    assert!(expected.contains("BW_ESINK") && expected.contains("BW_EVENT_LOST") && expected.contains("BW_VERSION"));
    assert_none_missing(expected, &Declarations::read().constant_names());
}

#[test]
fn every_type_of_the_headers_is_declared() {
    let code = headers();
    let mut expected = words(&code, "bw_");
    expected.retain(|name| name.ends_with("_t"));
    assert!(expected.contains("bw_t") && expected.contains("bw_batch_view_t"));
    assert_none_missing(expected, &Declarations::read().type_names());
}

#[test]
fn every_function_of_the_headers_is_declared() {
    let code = headers();
    let expected: BTreeSet<&str> = code
        .split("BW_API")
        .skip(1)
        .filter_map(|declaration| declaration.split_once('('))
        .filter_map(|(before, _)| words(before, "bw_").into_iter().rfind(|name| !name.ends_with("_t")))
        .collect();
    assert!(expected.contains("bw_new") && expected.contains("bw_batch_items"));
    assert_none_missing(expected, &Declarations::read().function_names());
}

/// The version script comes with the sources of the core, which are part of this package.
#[test]
fn the_functions_are_those_that_the_library_exports() {
    let script = read(Path::new(env!("CARGO_MANIFEST_DIR")).join("core/src/bw.map"));
    let exported: BTreeSet<String> = words(&script, "bw_").into_iter().map(String::from).collect();
    assert_eq!(Declarations::read().function_names(), exported);
}
