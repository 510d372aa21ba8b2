// A view of a `SocketModel`. On Linux it is type-checked against a fake of SwiftUI.
#if canImport(SwiftUI)
import SwiftUI
import WxSocket

@available(iOS 17, macOS 14, tvOS 17, watchOS 10, visionOS 1, *)
struct ChatView: View {
    @State private var model = SocketModel()
    @State private var draft = ""

    var body: some View {
        VStack {
            List(model.messages.indices, id: \.self) { Text(model.messages[$0].text ?? "(bytes)") }
            Text(model.notice.isEmpty ? status : model.notice)
            TextField("Message", text: $draft)
                .onSubmit { if model.send(draft) { draft = "" } }
        }
        .task { model.connect("wss://example.com/room") }
    }

    private var status: String {
        switch model.state {
        case .open: "connected"
        case .waiting(_, let delay): "again in \(delay.formatted())"
        case .closed, nil: "not connected"
        default: "connecting"
        }
    }
}
#endif
