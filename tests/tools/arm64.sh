# shellcheck shell=bash
# For scripts that build for Linux on arm64 on another machine: `source` it.

arm64=aarch64-unknown-linux-gnu

# need_arm64 PACKAGE...: rustup's target and Debian's cross compiler, and these too.
need_arm64() {
    local packages=(gcc-aarch64-linux-gnu "$@")
    rustup target add "$arm64" ||
        { echo "needs Rust's standard library for $arm64: rustup target add $arm64" && return 1; }
    if ! dpkg --status "${packages[@]}" >/dev/null 2>&1; then
        { apt-get install -y -q "${packages[@]}" ||
            { apt-get update -q && apt-get install -y -q "${packages[@]}"; }; } >&2 ||
            { echo "needs a cross compiler. On Debian: apt-get install ${packages[*]}" && return 1; }
    fi
    export CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
}
