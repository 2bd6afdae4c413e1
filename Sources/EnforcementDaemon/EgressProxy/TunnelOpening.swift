/// The opening of a tunnel as a state machine: what happens goes in, what is to be done comes out.
struct TunnelOpening {
    /// What is to be done.
    enum Action: Equatable {
        /// Tell the client that the tunnel is open.
        case answer
        /// Tell the client that it is not.
        case fail(DialFault)
        /// Start the timer anew for what the client says first.
        case startTimer
        /// Judge what the client has said first; ``TunnelOpening/judged(mayPass:)`` takes the result.
        case judge(ClientHello)
        /// Join the two sides, beginning with these bytes of the client.
        case join([UInt8])
        /// Close both sides, with a TLS alert to the client if so.
        case close(alert: Bool)
    }

    private enum State: Equatable {
        case dialing([UInt8])
        /// `needed` bytes must be there before it is worth to look again.
        case listening([UInt8], needed: Int)
        case judging([UInt8], isTLS: Bool)
        case done
    }

    private var state = State.dialing([])

    /// Whether the other side has not been reached yet and is still wanted.
    var isDialing: Bool {
        if case .dialing = state { true } else { false }
    }

    /// Whether more of what the client says is wanted now.
    var wantsMore: Bool {
        if case .listening = state { true } else { false }
    }

    /// The other side has been reached.
    mutating func dialed() -> [Action] {
        guard case .dialing(let bytes) = state else { return [] }
        state = .listening([], needed: 1)
        return [.answer, .startTimer] + (bytes.isEmpty ? [] : received(bytes))
    }

    /// The other side cannot be reached.
    mutating func failed(_ fault: DialFault) -> [Action] {
        guard state != .done else { return [] }
        state = .done
        return [.fail(fault)]
    }

    /// The client has said something.
    mutating func received(_ bytes: [UInt8]) -> [Action] {
        switch state {
        case .dialing(let earlier):
            // A client that does not wait for the answer; the head of its request may have brought some bytes with it.
            guard earlier.count + bytes.count <= ClientHello.longest else { return end() }
            state = .dialing(earlier + bytes)
            return []
        case .listening(let earlier, let needed):
            let all = earlier + bytes
            guard all.count >= needed else {
                state = .listening(all, needed: needed)
                return []
            }
            let hello = ClientHello(all)
            if case .incomplete(let needed) = hello {
                state = .listening(all, needed: needed)
                return []
            }
            state = .judging(all, isTLS: hello != .notTLS)
            return [.judge(hello)]
        case .judging, .done: return []
        }
    }

    /// What the client has said first has been judged.
    mutating func judged(mayPass: Bool) -> [Action] {
        guard case .judging(let bytes, let isTLS) = state else { return [] }
        state = .done
        return mayPass ? [.join(bytes)] : [.close(alert: isTLS)]
    }

    /// One of the sides has ended.
    mutating func ended() -> [Action] { end() }

    /// The timer has run out.
    mutating func timerExpired() -> [Action] {
        if case .dialing = state { return failed(.timeout) }
        return end()
    }

    private mutating func end() -> [Action] {
        guard state != .done else { return [] }
        state = .done
        return [.close(alert: false)]
    }
}
