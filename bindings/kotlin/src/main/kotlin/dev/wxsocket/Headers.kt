@file:JvmName("Headers")

package dev.wxsocket

/**
 * Returns the value of the first header of this name; `null` if there is none. Upper and lower case are the same, as in
 * HTTP: `event.header.value("content-type")`.
 */
public fun List<Header>.value(name: String): String? = firstOrNull { it.name.equals(name, ignoreCase = true) }?.value
