// As much of SwiftUI as Examples/model uses, with SwiftUI's own declarations, so that the example is type-checked on
// Linux. Nothing is drawn.

@MainActor @preconcurrency public protocol View {
    associatedtype Body: View
    @ViewBuilder @MainActor @preconcurrency var body: Body { get }
}

extension Never: View {
    public var body: Never { return fatalError() }
}

@resultBuilder public enum ViewBuilder {
    public static func buildBlock<each Content: View>(_ content: repeat each Content) -> Group {
        Group()
    }
}

public struct Group: View {
    nonisolated init() {}
    public var body: Never { return fatalError() }
}

public struct VStack: View {
    public init<Content: View>(@ViewBuilder content: () -> Content) {}
    public var body: Never { return fatalError() }
}

public struct List: View {
    public init<Data: RandomAccessCollection, ID: Hashable, Row: View>(
        _ data: Data, id: KeyPath<Data.Element, ID>, @ViewBuilder rowContent: @escaping (Data.Element) -> Row
    ) {}
    public var body: Never { return fatalError() }
}

public struct Text: View {
    public nonisolated init<S: StringProtocol>(_ content: S) {}
    public var body: Never { return fatalError() }
}

public struct TextField: View {
    public init<S: StringProtocol>(_ title: S, text: Binding<String>) {}
    public var body: Never { return fatalError() }
}

@propertyWrapper public struct Binding<Value> {
    init(_ value: Value.Type) {}
    public var wrappedValue: Value {
        get { fatalError() }
        nonmutating set {}
    }
}

@propertyWrapper public struct State<Value> {
    public init(wrappedValue value: Value) {}
    public var wrappedValue: Value {
        get { fatalError() }
        nonmutating set {}
    }
    public var projectedValue: Binding<Value> { Binding(Value.self) }
}

extension View {
    public nonisolated func onSubmit(_ action: @escaping () -> Void) -> Group { Group() }
    public nonisolated func task(@_inheritActorContext _ action: @escaping @Sendable () async -> Void) -> Group { Group() }
}
