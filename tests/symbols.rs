//! The C symbols that are written by hand, and their declarations in Kotlin.
//!
//! Nothing checks a hand-written declaration at run time: with a wrong width, an argument is read
//! from the wrong register or the wrong place of the stack. UniFFI writes both sides of its own
//! symbols, with checksums.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The types of each symbol's arguments, and of its result, as in Rust.
type Symbols = BTreeMap<String, Vec<String>>;

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of the project") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
    found
}

/// Returns the text after each `mark` in the files with this extension.
fn after_each(mark: &str, folders: &[&str], extension: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for file in folders.iter().flat_map(|folder| files(&root.join(folder), extension)) {
        let text = fs::read_to_string(&file).expect("UTF-8");
        found.extend(text.split(mark).skip(1).map(str::to_owned));
    }
    found
}

/// Parses `name(argument: Type, …)` and the type after `answer`.
fn signature(text: &str, answer: &str, of: impl Fn(&str) -> String) -> (String, Vec<String>) {
    let (name, rest) = text.split_once('(').expect("a function");
    let (arguments, rest) = rest.split_once(')').expect("its arguments");
    let mut types: Vec<_> = arguments
        .split(',')
        .filter(|argument| !argument.trim().is_empty())
        .map(|argument| of(argument.split_once(':').expect("a type").1.trim()))
        .collect();
    let answered = rest.trim_start().strip_prefix(answer).expect("every symbol answers something");
    types.push(of(answered.split_whitespace().next().expect("a type")));
    (name.trim().to_owned(), types)
}

fn in_rust() -> Symbols {
    after_each("#[unsafe(no_mangle)]", &["src", "bindings/testing/src"], "rs")
        .iter()
        .map(|text| {
            let (_, text) = text.split_once("extern \"C\" fn ").expect("a C function");
            signature(text, "->", str::to_owned)
        })
        .collect()
}

fn in_kotlin() -> Symbols {
    let of = |kotlin: &str| match kotlin {
        "Long" => "i64".to_owned(),
        "Int" => "i32".to_owned(),
        other => panic!("{other} has no width of its own"),
    };
    after_each("external fun ", &["bindings/kotlin/src"], "kt")
        .iter()
        .map(|text| signature(text, ":", of))
        .collect()
}

#[test]
fn a_symbol_takes_integers_of_fixed_width() {
    let symbols = in_rust();
    assert!(symbols.contains_key("wxsocket_send"), "{symbols:?}");
    for (name, types) in symbols {
        assert!(types.iter().all(|it| it == "i32" || it == "i64"), "{name}: {types:?}");
    }
}

#[test]
fn kotlin_declares_each_symbol_as_rust_defines_it() {
    assert_eq!(in_kotlin(), in_rust());
}
