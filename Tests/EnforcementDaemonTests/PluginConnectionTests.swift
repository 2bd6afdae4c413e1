@testable import EnforcementDaemon
import Testing

/// The connection of the engine as a table of what happens and what is then done.
struct PluginConnectionTests {
    enum Event: Sendable {
        case opened, bytes
        case head(String, String, keepsAlive: Bool = true)
        case body(Int)
        case end
        case decided(PluginAnswer)
        case timer
        case closed
    }

    struct Row: Sendable, CustomTestStringConvertible {
        let name: String
        let events: [Event]
        /// What the last event leads to.
        let actions: [PluginConnection.Action]
        var testDescription: String { name }
    }

    private static let request = "/AuthZPlugin.AuthZReq"
    private static let response = "/AuthZPlugin.AuthZRes"

    static let rows: [Row] = [
        // Timers
        Row(name: "a new connection may rest", events: [.opened], actions: [.startTimer(.rest)]),
        Row(name: "the first byte starts a deadline", events: [.opened, .bytes], actions: [.startTimer(.call)]),
        Row(name: "further bytes of a head do not renew it", events: [.opened, .bytes, .bytes], actions: []),
        Row(
            name: "the head starts the deadline of the call",
            events: [.bytes, .head("POST", request)],
            actions: [.startTimer(.call)]
        ),
        Row(
            name: "bytes of the body do not renew it",
            events: [.bytes, .head("POST", request), .body(3), .bytes],
            actions: []
        ),
        Row(name: "a rest that is too long ends", events: [.opened, .timer], actions: [.close]),
        Row(name: "a head that does not end is not waited for", events: [.opened, .bytes, .timer], actions: [.close]),
        Row(
            name: "a body that does not end is answered with a fault",
            events: [.bytes, .head("POST", request), .body(3), .timer],
            actions: [.answer(.fault(.deadline), close: true)]
        ),
        Row(
            name: "a decision that does not come is answered with a fault",
            events: [.bytes, .head("POST", request), .end, .timer],
            actions: [.answer(.fault(.deadline), close: true)]
        ),
        Row(
            name: "a decision after the deadline is dropped",
            events: [.bytes, .head("POST", request), .end, .timer, .decided(.allow)],
            actions: []
        ),
        Row(
            name: "the deadline strikes once",
            events: [.bytes, .head("POST", request), .end, .timer, .timer],
            actions: []
        ),

        // Calls
        Row(
            name: "a call is decided on when it is complete",
            events: [.bytes, .head("POST", request), .body(3), .end],
            actions: [.decide(.success([7, 7, 7]))]
        ),
        Row(
            name: "a body may come in parts",
            events: [.bytes, .head("POST", request), .body(1), .body(2), .end],
            actions: [.decide(.success([7, 7, 7]))]
        ),
        Row(
            name: "an empty call is decided on as well",
            events: [.bytes, .head("POST", request), .end],
            actions: [.decide(.success([]))]
        ),
        Row(
            name: "an answer leaves the connection open",
            events: [.bytes, .head("POST", request), .end, .decided(.refuse("no"))],
            actions: [.answer(.refuse("no"), close: false), .startTimer(.rest)]
        ),
        Row(
            name: "unless the caller does not want that",
            events: [.bytes, .head("POST", request, keepsAlive: false), .end, .decided(.allow)],
            actions: [.answer(.allow, close: true)]
        ),
        Row(
            name: "a second call on the connection is read like the first",
            events: [
                .bytes, .head("POST", request), .end, .decided(.allow), .bytes, .head("POST", request), .body(1), .end,
            ],
            actions: [.decide(.success([7]))]
        ),
        Row(
            name: "nothing is carried over from a call to the next",
            events: [
                .bytes, .head("POST", request), .body(5), .end, .decided(.allow), .bytes, .head("POST", request), .end,
            ],
            actions: [.decide(.success([]))]
        ),
        Row(
            name: "activation begins with an unknown engine",
            events: [.bytes, .head("POST", "/Plugin.Activate"), .end],
            actions: [.forgetEngine, .answer(.activation, close: false), .startTimer(.rest)]
        ),
        Row(
            name: "a response is learned from and never refused",
            events: [.bytes, .head("POST", response), .body(2), .body(1), .end],
            actions: [.learn([7, 7, 7]), .answer(.allow, close: false), .startTimer(.rest)]
        ),
        Row(
            name: "a response that is too large teaches nothing",
            events: [
                .bytes, .head("POST", response), .body(PluginConnection.largestObservation), .body(1), .body(1), .end,
            ],
            actions: [.answer(.allow, close: false), .startTimer(.rest)]
        ),
        Row(
            name: "nobody waits for a decision about it",
            events: [.bytes, .head("POST", response), .end, .decided(.refuse("no"))],
            actions: []
        ),

        // Sizes
        Row(
            name: "the largest call is decided on",
            events: [.bytes, .head("POST", request), .body(PluginConnection.largestCall), .end],
            actions: [.decide(.success([UInt8](repeating: 7, count: PluginConnection.largestCall)))]
        ),
        Row(
            name: "a larger one is not read",
            events: [.bytes, .head("POST", request), .body(PluginConnection.largestCall), .body(1), .end],
            actions: [.decide(.failure(.tooLarge))]
        ),
        Row(
            name: "however it goes on",
            events: [.bytes, .head("POST", request), .body(PluginConnection.largestCall + 1), .body(9), .end],
            actions: [.decide(.failure(.tooLarge))]
        ),
        Row(
            name: "and the connection ends behind it",
            events: [
                .bytes, .head("POST", request), .body(PluginConnection.largestCall + 1), .end, .decided(.refuse("x")),
            ],
            actions: [.answer(.refuse("x"), close: true)]
        ),

        // What is no call
        Row(
            name: "GET",
            events: [.bytes, .head("GET", request), .end],
            actions: [.answer(.fault(.notPOST), close: false), .startTimer(.rest)]
        ),
        Row(
            name: "lower case",
            events: [.bytes, .head("post", request), .end],
            actions: [.answer(.fault(.notPOST), close: false), .startTimer(.rest)]
        ),
        Row(
            name: "another path",
            events: [.bytes, .head("POST", "/VolumeDriver.Create"), .end],
            actions: [.answer(.fault(.unknownMethod), close: false), .startTimer(.rest)]
        ),
        Row(
            name: "a path with a query",
            events: [.bytes, .head("POST", request + "?x"), .end],
            actions: [.answer(.fault(.unknownMethod), close: false), .startTimer(.rest)]
        ),
        Row(
            name: "a path in other case",
            events: [.bytes, .head("POST", "/authzplugin.authzreq"), .end],
            actions: [.answer(.fault(.unknownMethod), close: false), .startTimer(.rest)]
        ),
        Row(
            name: "the root",
            events: [.bytes, .head("POST", "/"), .end],
            actions: [.answer(.fault(.unknownMethod), close: false), .startTimer(.rest)]
        ),

        // The end
        Row(name: "a closed connection needs nothing", events: [.opened, .closed, .timer], actions: []),
        Row(
            name: "not even a decision",
            events: [.bytes, .head("POST", request), .end, .closed, .decided(.allow)],
            actions: []
        ),
    ]

    @Test(arguments: rows)
    func `what is done`(_ row: Row) {
        var connection = PluginConnection()
        var actions: [PluginConnection.Action] = []
        for event in row.events {
            actions =
                switch event {
                case .opened: connection.opened()
                case .bytes: connection.bytesArrived()
                case .head(let method, let target, let keepsAlive):
                    connection.head(method: method, target: target, keepsAlive: keepsAlive)
                case .body(let count): connection.body([UInt8](repeating: 7, count: count))
                case .end: connection.end()
                case .decided(let answer): connection.decided(answer)
                case .timer: connection.timerExpired()
                case .closed:
                    {
                        connection.closed()
                        return []
                    }()
                }
        }
        #expect(actions == row.actions)
    }
}

struct PluginAnswerTests {
    @Test(arguments: [
        (PluginAnswer.activation, 200, #"{"Implements":["authz"]}"#),
        (.allow, 200, #"{"Allow":true}"#),
        (.refuse("no: \"x\"\n"), 200, #"{"Allow":false,"Msg":"no: \"x\"\n"}"#),
        (.fault(.unknownMethod), 404, #"{"Err":"docker-ram has no such method"}"#),
        (.fault(.notPOST), 405, #"{"Err":"docker-ram is called by POST"}"#),
        // The engine shows an Err only if the status is a failure.
        (.fault(.deadline), 500, #"{"Err":"docker-ram could not decide in time; try again"}"#),
    ])
    func `answers, byte for byte`(_ answer: PluginAnswer, _ status: Int, _ body: String) {
        #expect(answer.status == status)
        #expect(answer.body == body)
    }
}
