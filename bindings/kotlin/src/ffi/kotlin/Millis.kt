package dev.wxsocket.ffi

import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds

// The conversions that the generated code calls, because times are Kotlin's own `Duration`.

/** Converts a time of the engine. */
internal fun Long.toDuration(): Duration = milliseconds

/**
 * Converts a time for the engine, rounded away from zero, so that neither a very short time nor a negative one becomes
 * zero. An infinite time becomes more than the engine accepts.
 */
internal fun Duration.toMillis(): Long {
    val ms = inWholeMilliseconds
    if (isInfinite()) return ms
    val rest = this - ms.milliseconds
    return if (rest == Duration.ZERO) ms else ms + if (isNegative()) -1 else 1
}
