package dev.wxsocket.ffi

import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds

// What the generated code needs to have Kotlin's own types in its place.

/** A time that the engine tells. */
internal fun Long.toDuration(): Duration = milliseconds

/**
 * A time for the engine, rounded away from zero: a time that is too short for it must not become zero, nor one
 * below zero become zero. An infinite time is more than it accepts.
 */
internal fun Duration.toMillis(): Long {
    val ms = inWholeMilliseconds
    if (isInfinite()) return ms
    val rest = this - ms.milliseconds
    return if (rest == Duration.ZERO) ms else ms + if (isNegative()) -1 else 1
}
