# shellcheck shell=bash
# For scripts that build for Linux on another machine's processor, and run that in an emulator:
# `source` it.

# need_cross arm64|arm32 PACKAGE...: rustup's target and Debian's cross compiler, and these too.
# `$cross` is Rust's name of it afterwards, and `$sysroot` where its C library is.
need_cross() {
    local compiler name packages
    case $1 in
    arm64) cross=aarch64-unknown-linux-gnu compiler=aarch64-linux-gnu ;;
    arm32) cross=armv7-unknown-linux-gnueabihf compiler=arm-linux-gnueabihf ;;
    esac
    shift
    sysroot=/usr/$compiler
    packages=("gcc-$compiler" "$@")
    rustup target add "$cross" ||
        { echo "needs Rust's standard library for $cross: rustup target add $cross" && return 1; }
    if ! dpkg --status "${packages[@]}" >/dev/null 2>&1; then
        { apt-get install -y -q "${packages[@]}" ||
            { apt-get update -q && apt-get install -y -q "${packages[@]}"; }; } >&2 ||
            { echo "needs a cross compiler. On Debian: apt-get install ${packages[*]}" && return 1; }
    fi
    name=${cross//-/_}
    export "CC_$name=$compiler-gcc" "CARGO_TARGET_${name^^}_LINKER=$compiler-gcc"
}

# test_in EMULATOR [ARGUMENT...]: runs the Rust tests of `$cross` in it. The command line's own
# tests are left out: they start programs, which the emulator does not.
test_in() {
    local name=${cross//-/_} file tests=()
    export "CARGO_TARGET_${name^^}_RUNNER=$1 -L $sysroot"
    shift
    if [ $# = 0 ]; then
        for file in tests/*.rs; do
            tests+=(--test "$(basename "$file" .rs)")
        done
        set -- --lib "${tests[@]}"
    fi
    cargo test --target "$cross" --features testing,cli "$@"
}
