// Converts between the milliseconds of the engine and Swift's `Duration`; the generated code calls it.

extension Duration {
    /// Makes a duration of this many milliseconds.
    init(millis: Int64) { self = .milliseconds(millis) }

    /// The duration in whole milliseconds, rounded away from zero, so that only zero becomes zero. A duration that does not
    /// fit becomes the largest or smallest number, which the engine does not accept as an option.
    var millis: Int64 {
        let (seconds, attoseconds) = components
        let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1_000)
        let (quotient, rest) = attoseconds.quotientAndRemainder(dividingBy: 1_000_000_000_000_000)
        let (sum, overflowToo) = whole.addingReportingOverflow(quotient + rest.signum())
        return overflow || overflowToo ? (seconds < 0 ? .min : .max) : sum
    }
}
