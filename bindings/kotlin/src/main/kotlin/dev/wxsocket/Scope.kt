@file:JvmName("Scopes")

package dev.wxsocket

import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Job
import java.util.logging.Level

/**
 * Closes this task (1000) when [scope] is over, and returns the task: `connectSocket(url).closeWith(viewModelScope)`.
 *
 * A scope is over when its job is complete: it ended or was cancelled, and all coroutines in it have ended. What these
 * send last is still sent. The scope does not wait for the task. Until one of the two is over the scope refers to the
 * task, so the app need not.
 *
 * @throws IllegalArgumentException when the scope has no job, as `GlobalScope`.
 */
public fun <T : WebSocketTask> T.closeWith(scope: CoroutineScope): T {
    val job = requireNotNull(scope.coroutineContext[Job]) { "the scope has no job: it never ends" }
    val handle = job.invokeOnCompletion {
        try {
            close()
        } catch (e: Exception) {
            // Whatever is thrown here would end the app.
            complain(Level.SEVERE, e) { "a socket could not be closed with its scope" }
        }
    }
    (this as? SocketTask)?.whenOver { handle.dispose() }
    return this
}
