package dev.wxsocket


import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds
import kotlin.time.TimeSource
import dev.wxsocket.ffi.ConnectDecision as FfiDecision
import dev.wxsocket.ffi.ErrorEvent as FfiError
import dev.wxsocket.ffi.Message as FfiMessage
import dev.wxsocket.ffi.RetryInfo as FfiRetry
import dev.wxsocket.ffi.SendOutcome as FfiOutcome
import dev.wxsocket.ffi.SocketEvent as FfiEvent
import dev.wxsocket.ffi.SocketState as FfiState
import dev.wxsocket.ffi.SocketStats as FfiStats

// Converts the generated types to the public ones and back, and decides nothing.

internal fun FfiMessage.lift(): Message =
    when (this) {
        is FfiMessage.Text -> Message.Text(text)
        is FfiMessage.Binary -> Message.Binary(bytes)
    }

internal fun Message.lower(): FfiMessage =
    when (this) {
        is Message.Text -> FfiMessage.Text(text)
        is Message.Binary -> FfiMessage.Binary(bytes)
    }

internal fun FfiError.lift(): ErrorEvent =
    ErrorEvent(epoch, kind, errCode, errMsg, detail, httpStatus, httpHeader, Message.Binary(httpBody))

internal fun FfiEvent.lift(): SocketEvent =
    when (this) {
        is FfiEvent.Open -> event.run { OpenEvent(epoch, attempt, header, protocol, profile, unsent.map { it.lift() }) }
        is FfiEvent.Message -> MessageEvent(event.epoch, event.data.lift())
        is FfiEvent.Error -> event.lift()
        is FfiEvent.Close ->
            event.run { CloseEvent(epoch, code, reason, wasClean, retry?.lift(), unsent.map { it.lift() }) }
    }

internal fun FfiRetry.lift(): Retry = Retry(attempt, max, delay)

internal fun FfiState.lift(): SocketState =
    when (this) {
        is FfiState.Connecting -> SocketState.Connecting(attempt)
        is FfiState.Waiting ->
            SocketState.Waiting(attempt, TimeSource.Monotonic.markNow() + delay)
        FfiState.Suspended -> SocketState.Suspended
        FfiState.Open -> SocketState.Open
        FfiState.Closing -> SocketState.Closing
        FfiState.Closed -> SocketState.Closed
    }

/**
 * Returns true when this is the same state as [known]. The engine tells how long a wait still lasts, so its end is
 * computed anew each time and differs by as much as a thread was late.
 */
internal fun SocketState.isStill(known: SocketState): Boolean =
    if (this is SocketState.Waiting && known is SocketState.Waiting) {
        attempt == known.attempt && (until - known.until).absoluteValue < 1.seconds
    } else {
        this == known
    }

internal fun FfiOutcome.lift(): SendOutcome =
    when (this) {
        FfiOutcome.Sent -> SendOutcome.Sent
        FfiOutcome.Dropped -> SendOutcome.Dropped
        is FfiOutcome.Queued -> SendOutcome.Queued(dropped.map { it.lift() })
    }

internal fun FfiStats.lift(failures: Long): SocketStats =
    SocketStats(
        epoch, attempt, opens, messagesOut, bytesOut, messagesIn, bytesIn,
        lastRttMs?.milliseconds, smoothedRttMs?.milliseconds, failures, messagesDiscarded, lastError?.lift(),
    )

internal fun ConnectDecision.lower(): FfiDecision =
    when (this) {
        ConnectDecision.Proceed -> FfiDecision.Proceed
        is ConnectDecision.Stop -> FfiDecision.Stop(reason)
        is ConnectDecision.Change ->
            FfiDecision.Change(url, header, protocols)
    }
