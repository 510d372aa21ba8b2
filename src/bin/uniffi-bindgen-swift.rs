//! Writes the Swift binding; see bindings/generate.

fn main() {
    uniffi::uniffi_bindgen_swift();
}
