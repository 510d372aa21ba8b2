package dev.wxsocket.android

import android.app.Activity
import android.net.Network
import sun.misc.Unsafe

// Android's classes are here, its system is not: constructors that would call it are left out.

private val unsafe = Unsafe::class.java.getDeclaredField("theUnsafe").apply { isAccessible = true }.get(null) as Unsafe

private fun <T : Any> bare(type: Class<T>): T = type.cast(unsafe.allocateInstance(type))

private fun offset(type: Class<*>, field: String) = unsafe.objectFieldOffset(type.getDeclaredField(field))

fun network(id: Int): Network = bare(Network::class.java).also { unsafe.putInt(it, offset(Network::class.java, "netId"), id) }

fun activity(): Activity = bare(Activity::class.java)

var Activity.isChanging: Boolean
    get() = isChangingConfigurations
    set(value) = unsafe.putBoolean(this, offset(Activity::class.java, "mChangingConfigurations"), value)
