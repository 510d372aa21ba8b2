//! The README's quick starts are files that the tests of their languages build and run.
#![allow(clippy::unwrap_used)]

use std::fs::read_to_string;

#[test]
fn quick_starts_are_the_files_that_run() {
    let readme = read_to_string("README.md").unwrap();
    let mut found = 0;
    for part in readme.split("quick start: ").skip(1) {
        let (path, rest) = part.split_once(" -->").unwrap();
        let code = rest.split("```").nth(1).unwrap();
        let (_language, code) = code.split_once('\n').unwrap();
        assert!(read_to_string(path).unwrap().contains(code.trim()), "{path} differs");
        found += 1;
    }
    assert_eq!(found, 2, "one for Kotlin, one for Swift");
}

#[test]
fn the_files_that_prove_a_guarantee_exist() {
    let readme = read_to_string("README.md").unwrap();
    let (_, table) = readme.split_once("## What is guaranteed").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let named: Vec<_> = table.split('`').filter(|word| word.ends_with(".rs")).collect();
    assert!(named.len() > 10);
    for file in named {
        assert!(std::path::Path::new(file).exists(), "{file}");
    }
}
