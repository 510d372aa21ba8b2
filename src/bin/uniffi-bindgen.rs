//! Writes the Kotlin binding; see bindings/generate.

fn main() {
    uniffi::uniffi_bindgen_main();
}
