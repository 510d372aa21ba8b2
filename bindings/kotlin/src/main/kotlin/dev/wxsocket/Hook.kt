package dev.wxsocket

import dev.wxsocket.ffi.ConnectRequest
import dev.wxsocket.ffi.ListenerException
import kotlinx.coroutines.Job
import kotlinx.coroutines.runBlocking
import dev.wxsocket.ffi.BeforeConnect as FfiBeforeConnect
import dev.wxsocket.ffi.ConnectDecision as FfiDecision

/** Calls the app's `beforeConnect` for the engine, on a thread of the engine that may block. */
internal class Hook(private val hook: BeforeConnect) : FfiBeforeConnect {
    /** The running calls, by the number of their request. It is also the lock for both fields. */
    private val calls = HashMap<Long, Job>()

    /** The answers to the requests up to this number are not wanted any more. */
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
            // UniFFI catches exceptions, but no `Error`: the dial would never go on.
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
