# shellcheck shell=bash
# What build-jvm and build-android have in common: versions, the POM, and a folder in the layout of a Maven repository.
# Sourced in bindings/kotlin.

# property NAME: the value of a property in pom.xml.
property() { sed -n "s|.*<$1>\(.*\)</$1>.*|\1|p" pom.xml | head -n 1; }

version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' ../../Cargo.toml)
home=${WXSOCKET_HOME_URL:-$(property home.url)}
scm=${WXSOCKET_SCM_URL:-$(property scm.url)}

# dependency GROUP ARTIFACT VERSION [TYPE]
dependency() {
    printf '    <dependency>\n      <groupId>%s</groupId>\n      <artifactId>%s</artifactId>\n      <version>%s</version>\n' "$1" "$2" "$3"
    [ -z "${4:-}" ] || printf '      <type>%s</type>\n' "$4"
    printf '      <scope>compile</scope>\n    </dependency>\n'
}

# write_pom ARTIFACT PACKAGING COROUTINES [JNA_TYPE]: a POM on its own, with what Maven Central asks for. Name,
# description, licences, developers and addresses are those of pom.xml.
write_pom() {
    cat <<XML
<?xml version="1.0" encoding="UTF-8"?>
<project xmlns="http://maven.apache.org/POM/4.0.0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
         xsi:schemaLocation="http://maven.apache.org/POM/4.0.0 http://maven.apache.org/xsd/maven-4.0.0.xsd">
  <modelVersion>4.0.0</modelVersion>
  <groupId>dev.wxsocket</groupId>
  <artifactId>$1</artifactId>
  <version>$version</version>
  <packaging>$2</packaging>
XML
    sed -n '/<name>wxsocket</,/<\/scm>/p' pom.xml |
        sed "s|<name>wxsocket<|<name>$1<|; s|\${home.url}|$home|g; s|\${scm.url}|$scm|g"
    echo '  <dependencies>'
    dependency net.java.dev.jna jna "$(property jna.version)" "${4:-}"
    dependency org.jetbrains.kotlin kotlin-stdlib "$(property stdlib.version)"
    dependency org.jetbrains.kotlinx "$3" "$(property coroutines.version)"
    printf '  </dependencies>\n</project>\n'
    case $home$scm in
    *.invalid*) echo "${0##*/}: note: the addresses in the POM are placeholders; WXSOCKET_HOME_URL and WXSOCKET_SCM_URL set them" >&2 ;;
    esac
}

# docs_jar FILE: Maven Central asks for one; what it says is where the documentation is.
docs_jar() {
    local work
    work=$(mktemp -d)
    cp module.md "$work/README.md"
    jar --create --file "$1" -C "$work" README.md
    rm -rf "$work"
}

# add_checksums FOLDER: beside each file, as Maven expects them.
add_checksums() {
    local file
    for file in "$1"/*; do
        # The second of each is the Mac's.
        { sha1sum "$file" 2>/dev/null || shasum "$file"; } | cut -d ' ' -f 1 >"$file.sha1"
        { md5sum "$file" 2>/dev/null || md5 -r "$file"; } | cut -d ' ' -f 1 >"$file.md5"
    done
}
