package dev.wxsocket

/**
 * Marks what a block of options sets. Inside an inner block (`reconnect { … }`) the compiler rejects the options of
 * the outer one.
 */
@DslMarker
@Target(AnnotationTarget.CLASS, AnnotationTarget.TYPE)
public annotation class SocketDsl
