/// One connection of the engine to the authorization plugin, as a state machine: what happens goes in, what is to be
/// done comes out.
///
/// One timer runs at any time. A connection between calls may rest for long, because the engine keeps it; a call has
/// a hard deadline from its head on, so that a `docker` command never hangs on us.
struct PluginConnection {
    /// What is to be done.
    enum Action: Equatable {
        /// Start the timer anew, in place of the one that runs.
        case startTimer(Timer)
        /// Decide about the body of a call; ``PluginConnection/decided(_:)`` takes the answer.
        case decide(Result<[UInt8], MalformedCall>)
        /// The engine has started to use the plugin: whatever was known of it is out of date.
        case forgetEngine
        /// Learn about the engine from the body of an `AuthZRes` call.
        case learn([UInt8])
        /// Send an answer, and close the connection behind it if so.
        case answer(PluginAnswer, close: Bool)
        /// Close the connection without an answer.
        case close
    }

    /// What is timed.
    enum Timer: Equatable {
        /// The rest between two calls.
        case rest
        /// A call, or the arrival of its head.
        case call
    }

    /// The largest call that is looked at, in bytes: the engine passes on up to 4 MiB of a request's body, which
    /// makes 5.6 MiB of base64, and the headers.
    static let largestCall = 8 << 20

    /// The largest call that something is learned from, in bytes.
    ///
    /// The answer to a ping has some hundred bytes. What is larger would hold up decisions while it is read.
    static let largestObservation = 64 << 10

    private enum State {
        case resting
        /// The first bytes of a call have come.
        case receivingHead
        case receivingBody(Purpose, closesAfter: Bool)
        case deciding(closesAfter: Bool)
        case closed
    }

    /// What a call's body is for.
    private enum Purpose {
        /// It is to be decided on.
        case decision(Result<[UInt8], MalformedCall>)
        /// It tells something about the engine; `nil` if it is too large to look at.
        case observation([UInt8]?)
        /// Nothing: the answer does not depend on it.
        case nothing(PluginAnswer)
    }

    private var state = State.resting

    /// The connection has been opened.
    mutating func opened() -> [Action] { [.startTimer(.rest)] }

    /// Bytes have come; called before what they hold is told.
    mutating func bytesArrived() -> [Action] {
        guard case .resting = state else { return [] }
        state = .receivingHead
        return [.startTimer(.call)]
    }

    /// The head of a call has come.
    mutating func head(method: String, target: String, keepsAlive: Bool) -> [Action] {
        if case .closed = state { return [] }
        state = .receivingBody(Self.purpose(method, target), closesAfter: !keepsAlive)
        return [.startTimer(.call)]
    }

    /// A part of the body has come.
    mutating func body(_ bytes: [UInt8]) -> [Action] {
        guard case .receivingBody(let purpose, let closesAfter) = state else { return [] }
        // One reference to the bytes, or every part would copy them all.
        state = .closed
        switch purpose {
        case .decision(.success(var call)):
            if call.count + bytes.count > Self.largestCall {
                // The rest is read and dropped, so that the engine is there to take the answer.
                state = .receivingBody(.decision(.failure(.tooLarge)), closesAfter: true)
            } else {
                call.append(contentsOf: bytes)
                state = .receivingBody(.decision(.success(call)), closesAfter: closesAfter)
            }
        case .observation(var call?):
            let isTooLarge = call.count + bytes.count > Self.largestObservation
            if !isTooLarge { call.append(contentsOf: bytes) }
            state = .receivingBody(.observation(isTooLarge ? nil : call), closesAfter: closesAfter)
        case .decision(.failure), .observation(nil), .nothing:
            state = .receivingBody(purpose, closesAfter: closesAfter)
        }
        return []
    }

    /// The call is complete.
    mutating func end() -> [Action] {
        guard case .receivingBody(let purpose, let closesAfter) = state else { return [] }
        switch purpose {
        case .decision(let call):
            state = .deciding(closesAfter: closesAfter)
            return [.decide(call)]
        case .observation(let call):
            // What the engine has done cannot be refused any more.
            return (call.map { [.learn($0)] } ?? []) + send(.allow, closesAfter: closesAfter)
        case .nothing(.activation):
            return [.forgetEngine] + send(.activation, closesAfter: closesAfter)
        case .nothing(let answer):
            return send(answer, closesAfter: closesAfter)
        }
    }

    /// The decision has been made; if it comes too late, nothing is sent.
    mutating func decided(_ answer: PluginAnswer) -> [Action] {
        guard case .deciding(let closesAfter) = state else { return [] }
        return send(answer, closesAfter: closesAfter)
    }

    /// The timer that was started last has run out.
    mutating func timerExpired() -> [Action] {
        switch state {
        case .resting, .receivingHead:
            state = .closed
            return [.close]
        case .receivingBody, .deciding:
            return send(.fault(.deadline), closesAfter: true)
        case .closed:
            return []
        }
    }

    /// The connection is gone.
    mutating func closed() {
        state = .closed
    }

    private mutating func send(_ answer: PluginAnswer, closesAfter: Bool) -> [Action] {
        state = closesAfter ? .closed : .resting
        return [.answer(answer, close: closesAfter)] + (closesAfter ? [] : [.startTimer(.rest)])
    }

    private static func purpose(_ method: String, _ target: String) -> Purpose {
        switch target {
        case "/Plugin.Activate", "/AuthZPlugin.AuthZReq", "/AuthZPlugin.AuthZRes":
            guard method == "POST" else { return .nothing(.fault(.notPOST)) }
            switch target {
            case "/Plugin.Activate": return .nothing(.activation)
            case "/AuthZPlugin.AuthZRes": return .observation([])
            default: return .decision(.success([]))
            }
        default:
            return .nothing(.fault(.unknownMethod))
        }
    }
}
