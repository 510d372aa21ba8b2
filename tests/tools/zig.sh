# shellcheck shell=bash
# For scripts that build for systems whose C compiler is not here: `source` it. zig's compiler
# carries the headers and libraries of many systems. It comes from PyPI and is kept in
# ${WXSOCKET_CACHE:-~/.cache/wxsocket}.

zig_version=0.17.1
zig_cache=${WXSOCKET_CACHE:-${HOME:-/root}/.cache/wxsocket}
zig_home=$zig_cache/zig-$zig_version

# need_zig: `$zig` is the command afterwards.
need_zig() {
    local new
    zig=$(echo "$zig_home"/lib/python3*/site-packages/ziglang/zig)
    export ZIG_GLOBAL_CACHE_DIR=$zig_home/cache
    [ ! -x "$zig" ] || return 0
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        { apt-get install -y -q python3-venv ||
            { apt-get update -q && apt-get install -y -q python3-venv; }; } >&2 ||
            { echo "needs Python with venv. On Debian: apt-get install python3-venv" && return 1; }
    fi
    mkdir -p "$zig_cache"
    # Made aside and then moved, so that a download that breaks off leaves nothing half done.
    new=$(mktemp -d "$zig_home.new.XXXXXX")
    if ! { python3 -m venv "$new" && "$new/bin/python" -m pip install -q "ziglang==$zig_version"; } >&2; then
        rm -rf "$new"
        echo "needs zig $zig_version: pip install ziglang==$zig_version"
        return 1
    fi
    # Another process may have been faster; its copy is as good.
    if [ -e "$zig_home" ]; then rm -rf "$new"; else mv "$new" "$zig_home"; fi
    zig=$(echo "$zig_home"/lib/python3*/site-packages/ziglang/zig)
}

# need_target TRIPLE...: Rust's standard library for each.
need_target() {
    rustup target add "$@" >&2 ||
        { echo "needs Rust's standard library: rustup target add $*" && return 1; }
}

# use_zig DIR TRIPLE ZIG_TARGET [FLAG...]: has cargo compile C for Rust's TRIPLE as zig's
# ZIG_TARGET, with these flags (none has a space). `$zig_cc` is the compiler afterwards, to be named
# as the linker where it links too, and `${zig_flags[@]}` are the flags. Its scripts are written to
# DIR.
use_zig() {
    local dir=$1 triple=$2 zig_target=$3 name
    shift 3
    name=${triple//-/_}
    mkdir -p "$dir"
    zig_cc=$dir/cc-$triple
    # Debug builds of zig's own look for undefined behaviour, which needs a runtime.
    zig_flags=(-fno-sanitize=all "$@")
    # cargo and the crate `cc` name the target in words of LLVM, which zig has not.
    cat >"$zig_cc" <<SCRIPT
#!/usr/bin/env bash
arguments=()
while [ \$# -gt 0 ]; do
    case \$1 in
    --target=* | -m32 | -m64 | -march=* | -m*-version-min=* | -mtargetos=*) ;;
    -arch | -isysroot) shift ;;
    *) arguments+=("\$1") ;;
    esac
    shift
done
exec $(printf '%q ' "$zig" cc -target "$zig_target") "\${arguments[@]}"
SCRIPT
    printf '#!/usr/bin/env bash\nexec %q ar "$@"\n' "$zig" >"$dir/ar-zig"
    chmod +x "$zig_cc" "$dir/ar-zig"
    # In the environment, so that cargo sees when they change.
    export "CC_$name=$zig_cc" "AR_$name=$dir/ar-zig" "CFLAGS_$name=${zig_flags[*]}"
}

# link_with TRIPLE LINKER: for cargo.
link_with() {
    local name=${1//-/_}
    export "CARGO_TARGET_${name^^}_LINKER=$2"
}
