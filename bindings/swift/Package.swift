// swift-tools-version: 6.0
//
// WxSocket                 what apps import, written by hand
//  └ WxSocketBindings      generated, never the public face
//     └ WxSocketFFI        the C module: an XCFramework on Apple's systems, a system library elsewhere
//
// The environment decides three things, because no manifest can see how it is used:
//   WXSOCKET_TESTING=1      link libwxsocket_testing, which holds the engine and the scripted server, and
//                           add the tests and the bench. `./test` sets it.
//   WXSOCKET_XCFRAMEWORK=0  on a Mac, link a dylib (as on Linux) instead of the XCFramework.
//   WXSOCKET_FAKES=UIKit,Network  on Linux, with WXSOCKET_TESTING: compile what is for Apple's systems against the
//                           modules of these names in Tests/Fakes, and add the tests of that instead of all others.
// Where the library is has to be said on the command line: -Xlinker -L/path/to/its/directory.

import PackageDescription

let environment = Context.environment
let testing = environment["WXSOCKET_TESTING"] == "1"
#if os(Linux)
let fakes = testing ? (environment["WXSOCKET_FAKES"] ?? "").split(separator: ",").map(String.init) : []
#else
let fakes: [String] = []
#endif
#if os(macOS)
let framework = !testing && environment["WXSOCKET_XCFRAMEWORK"] != "0"
#else
let framework = false
#endif

let native: Target = framework
    ? .binaryTarget(name: "WxSocketFFI", path: "WxSocketFFI.xcframework")
    : .systemLibrary(name: "WxSocketFFI")

// The library's name is here rather than in the module maps: the same module is in two libraries.
let link: [LinkerSetting] = framework
    // What the static library needs of the system: rustls asks Security whom to trust.
    ? [.linkedFramework("Security"), .linkedFramework("CoreFoundation")]
    : [.linkedLibrary(testing ? "wxsocket_testing" : "wxsocket")]

let package = Package(
    name: "WxSocket",
    // `Duration` and clocks; and what build-xcframework builds for.
    platforms: [.iOS(.v16), .macOS(.v13)],
    products: [.library(name: "WxSocket", targets: ["WxSocket"])],
    targets: [
        native,
        .target(name: "WxSocketBindings", dependencies: ["WxSocketFFI"], linkerSettings: link),
        .target(name: "WxSocket", dependencies: ["WxSocketBindings"] + fakes.map { .byName(name: $0) }),
        .executableTarget(name: "quickstart", dependencies: ["WxSocket"], path: "Examples/quickstart"),
        .executableTarget(name: "chat", dependencies: ["WxSocket"], path: "Examples/chat"),
    ],
    swiftLanguageModes: [.v6]
)

if testing {
    package.targets += [
        .systemLibrary(name: "WxSocketTestingFFI"),
        .target(name: "WxSocketTestingBindings", dependencies: ["WxSocketTestingFFI", "WxSocketBindings"], linkerSettings: link),
    ]
}
if testing && fakes.isEmpty {
    package.targets += [
        .testTarget(
            name: "WxSocketTests",
            // The examples are run by tests, so they have to be built first.
            dependencies: ["WxSocket", "WxSocketTestingBindings", "quickstart", "chat"]),
        .executableTarget(name: "bench", dependencies: ["WxSocket", "WxSocketTestingBindings"], path: "Bench"),
    ]
}
if !fakes.isEmpty {
    package.targets += fakes.map { .target(name: $0, path: "Tests/Fakes/\($0)") }
    package.targets.append(
        .testTarget(
            name: "WxSocketAdapterTests",
            dependencies: ["WxSocket", "WxSocketTestingBindings"] + fakes.map { .byName(name: $0) }))
}
