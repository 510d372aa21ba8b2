// What the generated code needs to have Swift's own types in its place.

extension Duration {
    /// So many milliseconds.
    init(millis: Int64) { self = .milliseconds(millis) }

    /// Whole milliseconds, rounded away from zero: no time becomes zero. A time that does not fit is the nearest that
    /// does, which the engine does not accept.
    var millis: Int64 {
        let (seconds, attoseconds) = components
        let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1_000)
        let (quotient, rest) = attoseconds.quotientAndRemainder(dividingBy: 1_000_000_000_000_000)
        let (sum, overflowToo) = whole.addingReportingOverflow(quotient + rest.signum())
        return overflow || overflowToo ? (seconds < 0 ? .min : .max) : sum
    }
}
