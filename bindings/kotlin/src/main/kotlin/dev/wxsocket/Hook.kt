package dev.wxsocket

import dev.wxsocket.ffi.ConnectRequest
import dev.wxsocket.ffi.ListenerException
import kotlinx.coroutines.Job
import kotlinx.coroutines.runBlocking
import dev.wxsocket.ffi.BeforeConnect as FfiBeforeConnect
import dev.wxsocket.ffi.ConnectDecision as FfiDecision

/** The app's `beforeConnect` as the engine calls it, on threads of the engine that may block. */
internal class Hook(private val hook: BeforeConnect) : FfiBeforeConnect {
    /** The calls under way, by the number of their request. It is the lock of both fields. */
    private val calls = HashMap<Long, Job>()

    /** Nobody wants the answers to the requests up to this number. */
    private var withdrawn = 0L

    override fun beforeConnect(request: ConnectRequest): FfiDecision {
        val job = Job()
        val isLate = synchronized(calls) {
            calls[request.number] = job
            request.number <= withdrawn
        }
        if (isLate) job.cancel()
        return try {
            runBlocking(job) { hook(request.epoch, request.attempt, request.lastError?.lift()) }.lower()
        } catch (e: Throwable) {
            // UniFFI catches exceptions only; an `Error` would be lost, and the dial with it.
            throw ListenerException.Failed(e.toString())
        } finally {
            synchronized(calls) { calls -= request.number }
        }
    }

    override fun withdraw(number: Long) {
        val late = synchronized(calls) {
            withdrawn = maxOf(withdrawn, number)
            calls.filterKeys { it <= number }.values
        }
        for (job in late) job.cancel()
    }
}
