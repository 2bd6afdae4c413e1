import RegistryAccess
import TestSupport
import Testing

@testable import SignedPolicy

struct TrustedDocumentsTests {
    private static let start = SignedOrganization.start
    private static let day = SignedOrganization.day
    private static let own = SignedOrganization()

    /// What is not accepted changes nothing.
    private func expectRefusal(
        _ reason: Rejection?,
        at now: Instant = start,
        _ accept: (inout TrustedDocuments) throws -> Void
    ) throws {
        var machine = try Self.own.machine()
        let before = machine
        do {
            try accept(&machine)
            Issue.record("it was accepted")
        } catch let error as Rejection {
            if let reason { #expect(error == reason) }
        }
        #expect(machine.marks == before.marks)
        #expect(machine.root == before.root)
        #expect(machine.freshness == before.freshness)
        #expect(machine.ticket == before.ticket)
        #expect(machine.policy?.digest == before.policy?.digest)
        #expect(machine.policyInForce(at: now)?.policy.version == 3)
    }

    @Test
    func `a machine follows its organization`() throws {
        var machine = try Self.own.machine()
        #expect(machine.policyInForce(at: Self.start)?.policy.version == 3)
        #expect(machine.policyInForce(at: Self.start)?.until == Self.start + Self.day)
        // The same policy for longer.
        try machine.accept(
            freshness: Self.own.freshness(6, of: 3, issued: Self.start + 900),
            policy: nil,
            at: Self.start + 900
        )
        #expect(machine.policyInForce(at: Self.start + Self.day)?.policy.version == 3)
        // A new one, which has to come with it; versions may be left out.
        let newer = try Self.own.freshness(7, of: 9, allowing: "quay.io", issued: Self.start + 1000)
        #expect(throws: Rejection.policyNeeded(9)) {
            try machine.accept(freshness: newer, policy: nil, at: Self.start + 1000)
        }
        try machine.accept(
            freshness: newer,
            policy: Self.own.policy(9, allowing: "quay.io"),
            at: Self.start + 1000
        )
        #expect(machine.policyInForce(at: Self.start + 1000)?.policy.version == 9)
        // The very same again is no fault.
        try machine.accept(freshness: newer, policy: nil, at: Self.start + 1000)
        #expect(machine.policyInForce(at: Self.start + 1000 + Self.day) == nil)
    }

    @Test
    func `teams add to the policy`() throws {
        let machine = try Self.own.machine()
        let quay = AccessRequest(.pull, try RegistryAddress("quay.io"))
        #expect(machine.policyInForce(at: Self.start)?.policy.verdict(on: quay).isAllowed == false)
        #expect(machine.policyInForce(for: ["frontend"], at: Self.start)?.policy.verdict(on: quay).isAllowed == false)
        let backend = machine.policyInForce(for: ["frontend", "backend"], at: Self.start)
        #expect(backend?.policy.verdict(on: quay).isAllowed == true)
    }

    // MARK: - Freshness and policy

    /// An attack, and how it is seen.
    struct Attack: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let reason: Rejection?
        let freshness: @Sendable (SignedOrganization) throws -> [UInt8]
        var policy: @Sendable (SignedOrganization) throws -> [UInt8]? = { _ in nil }
        var now = SignedOrganization.start
    }

    private static let stranger = SigningKey.generate()

    private static func altered(_ json: [UInt8], _ old: String, _ new: String) -> [UInt8] {
        Array(String(decoding: json, as: UTF8.self).replacing(old, with: new, maxReplacements: 1).utf8)
    }

    private static let attacks: [Attack] = [
        Attack(testDescription: "stripped of its signatures", reason: .notSigned(signatures: 0, needed: 1)) {
            try $0.freshness(6, of: 3, by: [])
        },
        Attack(testDescription: "signed by a stranger", reason: .notSigned(signatures: 0, needed: 1)) {
            try $0.freshness(6, of: 3, by: [stranger])
        },
        Attack(testDescription: "signed by the key of another role", reason: .notSigned(signatures: 0, needed: 1)) {
            try $0.freshness(6, of: 3, by: $0.keys(.policy) + $0.keys(.ticket))
        },
        Attack(testDescription: "a stranger's signature under our name", reason: .notSigned(signatures: 0, needed: 1)) {
            altered(
                try $0.freshness(6, of: 3, by: [stranger]),
                stranger.verificationKey.id.description,
                $0.keys(.freshness)[0].verificationKey.id.description
            )
        },
        Attack(testDescription: "a ticket in its place", reason: .otherKind(DocumentKind.ticket.payloadType)) {
            try $0.ticket(by: $0.keys(.freshness))
        },
        Attack(testDescription: "another organization's", reason: .otherOrganization("other")) {
            var other = $0
            other.name = "other"
            return try other.freshness(6, of: 3)
        },
        Attack(testDescription: "older", reason: .older(newest: 5, found: 4)) { try $0.freshness(4, of: 3) },
        Attack(testDescription: "the same number, other words", reason: .equivocation(5)) {
            try $0.freshness(5, of: 3, lifetime: 7 * day)
        },
        Attack(testDescription: "a greater number, made earlier", reason: .older(newest: 5, found: 6)) {
            try $0.freshness(6, of: 3, issued: start + -1)
        },
        Attack(testDescription: "an older policy", reason: .older(newest: 3, found: 2)) {
            try $0.freshness(6, of: 2)
        } policy: {
            try $0.policy(2)
        },
        Attack(testDescription: "the same version, another policy", reason: .equivocation(3)) {
            try $0.freshness(6, of: 3, allowing: "evil.test")
        } policy: {
            try $0.policy(3, allowing: "evil.test")
        },
        Attack(testDescription: "a new policy that is not there", reason: .policyNeeded(4)) {
            try $0.freshness(6, of: 4)
        },
        Attack(testDescription: "another policy than the named one", reason: .otherPolicy) {
            try $0.freshness(6, of: 4)
        } policy: {
            try $0.policy(4, allowing: "evil.test")
        },
        Attack(testDescription: "a policy by a stranger", reason: .notSigned(signatures: 0, needed: 1)) {
            try $0.freshness(6, of: 4)
        } policy: {
            try $0.policy(4, by: [stranger])
        },
        Attack(testDescription: "a policy by the key of freshness", reason: .notSigned(signatures: 0, needed: 1)) {
            try $0.freshness(6, of: 4)
        } policy: {
            try $0.policy(4, by: $0.keys(.freshness))
        },
        Attack(testDescription: "expired", reason: .expired(start + day)) {
            try $0.freshness(6, of: 3)
        } policy: { _ in
            nil
        },
        Attack(testDescription: "from the future", reason: .fromFuture(start + 301)) {
            try $0.freshness(6, of: 3, issued: start + 301)
        },
        Attack(testDescription: "good for too long", reason: .badLifetime(seconds: 7 * day + 1)) {
            try $0.freshness(6, of: 3, lifetime: 7 * day + 1)
        },
        Attack(testDescription: "good for too short", reason: .badLifetime(seconds: 3599)) {
            try $0.freshness(6, of: 3, lifetime: 3599)
        },
        Attack(testDescription: "of a root document that is not here", reason: .rootNeeded(2)) {
            try $0.freshness(6, of: 3, rootVersion: 2)
        },
        Attack(testDescription: "too long", reason: .tooLarge(limit: 256 << 10)) {
            try $0.freshness(6, of: 3) + [UInt8](repeating: 0x20, count: 256 << 10)
        },
        Attack(testDescription: "something behind it", reason: nil) { try $0.freshness(6, of: 3) + Array("x".utf8) },
        Attack(testDescription: "the key twice", reason: nil) {
            altered(try $0.freshness(6, of: 3), "{", #"{"payloadType":"x","#)
        },
        Attack(testDescription: "an unknown key", reason: nil) {
            altered(try $0.freshness(6, of: 3), "{", #"{"alg":"none","#)
        },
        Attack(testDescription: "nothing", reason: nil) { _ in [] },
        Attack(testDescription: "a page of HTML", reason: nil) { _ in Array("<html>".utf8) },
    ].map { attack in
        var attack = attack
        if attack.testDescription == "expired" { attack.now = start + day }
        return attack
    }

    @Test(arguments: attacks)
    func `what is no step forward is refused`(_ attack: Attack) throws {
        // At its end, the policy before it holds no more either.
        let holds = attack.now < Self.start + Self.day ? attack.now : Self.start
        try expectRefusal(attack.reason, at: holds) { machine in
            try machine.accept(
                freshness: attack.freshness(Self.own),
                policy: attack.policy(Self.own),
                at: attack.now
            )
        }
    }

    @Test
    func `a document of which any byte is another is refused or says the same`() throws {
        let machine = try Self.own.machine()
        let json = try Self.own.freshness(6, of: 3)
        for index in json.indices {
            for bit in [UInt8(1), 0x20, 0x80] {
                var flipped = json
                flipped[index] ^= bit
                var copy = machine
                do {
                    try copy.accept(freshness: flipped, policy: nil, at: Self.start)
                    Issue.record("byte \(index) ^ \(bit)")
                } catch {
                    #expect(copy.marks == machine.marks)
                }
            }
            var copy = machine
            #expect(throws: Rejection.self) {
                try copy.accept(freshness: Array(json[..<index]), policy: nil, at: Self.start)
            }
        }
    }

    @Test
    func `a signature counts once, and two of three are two`() throws {
        var own = SignedOrganization()
        own.keys[.policy] = [.generate(), .generate(), .generate()]
        let roles = own.rootDocument().roles.merging([
            .policy: RootDocument.Role(threshold: 2, own.keys(.policy).map(\.verificationKey))
        ]) { $1 }
        let root = RootDocument(organization: "acme", version: 1, expires: Self.start + Self.day, roles: roles)
        let rootJSON = try Envelope(signing: root.payload, as: .root, with: own.keys(.root)).json
        let machine = try TrustedDocuments(organization: "acme", pinned: own.pinned, roots: [Array(rootJSON.utf8)])
        let (one, two, three) = (own.keys(.policy)[0], own.keys(.policy)[1], own.keys(.policy)[2])
        for (signers, isAccepted) in [
            ([one], false), ([one, one], false), ([one, Self.stranger], false), ([one, two], true),
            ([three, one], true),
            ([one, two, three], true), ([Self.stranger, two, three], true),
        ] {
            var copy = machine
            let policy = try own.policy(1, by: signers)
            let freshness = try own.freshness(1, of: 1)
            if isAccepted {
                try copy.accept(freshness: freshness, policy: policy, at: Self.start)
            } else {
                #expect(throws: Rejection.notSigned(signatures: 1, needed: 2)) {
                    try copy.accept(freshness: freshness, policy: policy, at: Self.start)
                }
            }
        }
    }

    // MARK: - Root documents

    @Test
    func `every key can be another without touching the machine`() throws {
        var machine = try Self.own.machine()
        var next = Self.own
        for kind in DocumentKind.roles { next.keys[kind] = [.generate()] }
        try machine.accept(roots: [next.root(2, by: Self.own.keys(.root) + next.keys(.root))], at: Self.start)
        #expect(machine.root.version == 2)
        // What the old keys sign from now on is nothing.
        #expect(throws: Rejection.notSigned(signatures: 0, needed: 1)) {
            try machine.accept(freshness: Self.own.freshness(6, of: 3), policy: nil, at: Self.start)
        }
        try machine.accept(freshness: next.freshness(6, of: 4, rootVersion: 2), policy: next.policy(4), at: Self.start)
        #expect(machine.policyInForce(at: Self.start)?.policy.version == 4)
        // And the first key is not needed to go on.
        var third = next
        third.keys[.root] = [.generate()]
        try machine.accept(roots: [third.root(3, by: next.keys(.root) + third.keys(.root))], at: Self.start)
        #expect(machine.root.version == 3)
    }

    @Test
    func `who had a key could set the marks high, and new keys set them back`() throws {
        var machine = try Self.own.machine()
        try machine.accept(
            freshness: Self.own.freshness(1 << 53, of: 1 << 53),
            policy: Self.own.policy(1 << 53),
            at: Self.start
        )
        #expect(throws: Rejection.older(newest: 1 << 53, found: 6)) {
            try machine.accept(freshness: Self.own.freshness(6, of: 4), policy: Self.own.policy(4), at: Self.start)
        }
        var next = Self.own
        next.keys[.freshness] = [.generate()]
        try machine.accept(roots: [next.root(2)], at: Self.start)
        // What the old key said holds no more.
        #expect(machine.policyInForce(at: Self.start) == nil)
        try machine.accept(freshness: next.freshness(6, of: 4), policy: next.policy(4), at: Self.start)
        #expect(machine.policyInForce(at: Self.start)?.policy.version == 4)
    }

    @Test
    func `a root document that changes no key of a role leaves what it signed in force`() throws {
        var machine = try Self.own.machine()
        var next = Self.own
        next.keys[.freshness]?.append(.generate())
        try machine.accept(roots: [next.root(2)], at: Self.start)
        #expect(machine.policyInForce(at: Self.start)?.policy.version == 3)
        #expect(machine.signedIn(at: Self.start)?.subject == "alice")
        #expect(throws: Rejection.older(newest: 5, found: 4)) {
            try machine.accept(freshness: next.freshness(4, of: 3), policy: nil, at: Self.start)
        }
    }

    @Test
    func `a root document that does not follow is refused`() throws {
        var next = Self.own
        next.keys[.root] = [.generate()]
        let (old, new) = (Self.own.keys(.root), next.keys(.root))
        let unsigned = Rejection.notSigned(signatures: 0, needed: 1)
        let cases: [([[UInt8]], Rejection?)] = [
            ([try next.root(2, by: new)], unsigned), ([try next.root(2, by: old)], unsigned),
            ([try next.root(2, by: [])], unsigned), ([try next.root(2, by: Self.own.keys(.policy))], unsigned),
            ([try next.root(3, by: old + new)], .rootOutOfOrder(expected: 2, found: 3)),
            ([try next.root(1, by: old + new)], .rootOutOfOrder(expected: 2, found: 1)),
            ([try next.root(2, by: old + new, expires: Self.start)], .rootExpired(Self.start)),
            ([try next.root(2, by: old + new), try next.root(4, by: new)], .rootOutOfOrder(expected: 3, found: 4)),
            (try (2...66).map { try Self.own.root($0) }, .tooManyRoots(limit: 64)),
            ([try Self.own.policy(4)], .otherKind(DocumentKind.policy.payloadType)),
        ]
        for (roots, reason) in cases {
            try expectRefusal(reason) { try $0.accept(roots: roots, at: Self.start) }
        }
        var other = Self.own
        other.name = "other"
        try expectRefusal(.otherOrganization("other")) { try $0.accept(roots: [other.root(2)], at: Self.start) }
        var machine = try Self.own.machine()
        try machine.accept(roots: try (2...65).map { try Self.own.root($0) }, at: Self.start)
        #expect(machine.root.version == 65)
        // One that has ended is good for a step.
        var again = try Self.own.machine()
        try again.accept(roots: [Self.own.root(2, expires: Self.start + -5), Self.own.root(3)], at: Self.start)
        #expect(again.root.version == 3)
    }

    @Test
    func `only the pinned key begins`() throws {
        let other = SignedOrganization()
        func begin(_ roots: [[UInt8]], _ organization: String = "acme") throws -> TrustedDocuments {
            try TrustedDocuments(organization: organization, pinned: Self.own.pinned, roots: roots)
        }
        #expect(throws: Rejection.notPinned) { try begin([]) }
        #expect(throws: Rejection.notPinned) { try begin([other.root()]) }
        #expect(throws: Rejection.notPinned) { try begin([Self.own.root(by: [])]) }
        // The key signs, but has not the role.
        #expect(throws: Rejection.notPinned) { try begin([other.root(by: other.keys(.root) + Self.own.keys(.root))]) }
        #expect(throws: Rejection.otherOrganization("acme")) { try begin([Self.own.root()], "other") }
        #expect(try begin([Self.own.root()]).root.version == 1)
    }

    @Test
    func `a machine whose policy ended is refused an old root, too`() throws {
        var machine = try Self.own.machine()
        let late = Self.start + 366 * Self.day
        #expect(throws: Rejection.rootExpired(Self.start + 365 * Self.day)) {
            try machine.accept(freshness: Self.own.freshness(6, of: 3, issued: late), policy: nil, at: late)
        }
    }

    // MARK: - Tickets

    @Test
    func `a ticket is for this device, and for a session that goes on`() throws {
        let unsigned = Rejection.notSigned(signatures: 0, needed: 1)
        try expectRefusal(.otherDevice) {
            try $0.accept(ticket: Self.own.ticket(device: "d2"), for: "d1", at: Self.start)
        }
        try expectRefusal(unsigned) {
            try $0.accept(ticket: Self.own.ticket(by: Self.own.keys(.freshness)), for: "d1", at: Self.start)
        }
        try expectRefusal(.expired(Self.start + -9)) {
            try $0.accept(ticket: Self.own.ticket(issued: Self.start + -9), for: "d1", at: Self.start)
        }
        try expectRefusal(.fromFuture(Self.start + 301)) {
            try $0.accept(ticket: Self.own.ticket(issued: Self.start + 301), for: "d1", at: Self.start)
        }
        var machine = try Self.own.machine()
        #expect(machine.signedIn(at: Self.start)?.subject == "alice")
        #expect(machine.signedIn(at: Self.start + Self.day) == nil)
        machine.endSession()
        #expect(machine.signedIn(at: Self.start) == nil)
        // Neither a new ticket of that session nor one of another that is as old brings it back; a new sign-in does, also of a
        // server whose clock is behind ours.
        for (session, signedIn) in [("s1", Self.start), ("s1", Self.start + 20), ("s0", Self.start + -1)] {
            let ticket = try Self.own.ticket(session: session, signedIn: signedIn, issued: Self.start + 20)
            #expect(throws: Rejection.sessionEnded) {
                try machine.accept(ticket: ticket, for: "d1", at: Self.start + 20)
            }
        }
        let again = try Self.own.ticket(session: "s2", signedIn: Self.start, issued: Self.start)
        try machine.accept(ticket: again, for: "d1", at: Self.start + 20)
        #expect(machine.signedIn(at: Self.start + 20)?.teams == ["backend"])
    }

    // MARK: - After a restart

    @Test
    func `a machine goes on where it was, and not before`() throws {
        var own = Self.own
        own.keys[.root] = [.generate()]
        let roots = [try Self.own.root(), try own.root(2, by: Self.own.keys(.root) + own.keys(.root))]
        var machine = try Self.own.machine()
        try machine.accept(roots: [roots[1]], at: Self.start)
        let marks = try HighWaterMarks(json: Array(machine.marks.json.utf8))
        #expect(marks == machine.marks)

        func restarted(_ roots: [[UInt8]]) throws -> TrustedDocuments {
            try TrustedDocuments(organization: "acme", pinned: Self.own.pinned, roots: roots, marks: marks)
        }
        var again = try restarted(roots)
        try again.resume(freshness: own.freshness(5, of: 3), policy: own.policy(3))
        #expect(again.marks == marks)
        #expect(again.policyInForce(at: Self.start)?.policy.version == 3)
        // Long after: the policy is known and not in force.
        #expect(again.policyInForce(at: Self.start + 2 * Self.day) == nil)
        #expect(again.policy?.version == 3)

        #expect(throws: Rejection.older(newest: 2, found: 1)) { try restarted([roots[0]]) }
        let forged = try own.root(2, by: Self.own.keys(.root) + own.keys(.root), expires: Self.start + 400 * Self.day)
        #expect(throws: Rejection.equivocation(2)) { try restarted([roots[0], forged]) }
        for (freshness, policy, reason) in [
            (try own.freshness(4, of: 3), try own.policy(3), Rejection.older(newest: 5, found: 4)),
            (try own.freshness(5, of: 3, lifetime: 7 * Self.day), try own.policy(3), .equivocation(5)),
            (try own.freshness(5, of: 3), try own.policy(3, allowing: "evil.test"), .otherPolicy),
        ] {
            var machine = try restarted(roots)
            #expect(throws: reason) { try machine.resume(freshness: freshness, policy: policy) }
            #expect(machine.policyInForce(at: Self.start) == nil)
        }
    }

    @Test
    func `root documents behind the marks retire what the marks are made of, and those before do not`() throws {
        // The keys change with version 3.
        var newer = Self.own
        newer.keys[.freshness] = [.generate()]
        newer.keys[.ticket] = [.generate()]
        let roots = [try Self.own.root(), try Self.own.root(2), try newer.root(3), try newer.root(4)]
        var machine = try Self.own.machine()
        func restarted(_ count: Int, _ marks: HighWaterMarks) throws -> TrustedDocuments {
            let roots = Array(roots[..<count])
            return try TrustedDocuments(organization: "acme", pinned: Self.own.pinned, roots: roots, marks: marks)
        }
        for marked in 1...2 {
            let marks = machine.marks
            #expect(try restarted(marked, marks).marks == marks)
            #expect(try restarted(2, marks).marks.sequence == 5)
            for count in 3...4 {
                let again = try restarted(count, marks).marks
                #expect(again.rootVersion == count && again.sequence == 0 && again.policyVersion == 0)
                #expect(again.freshnessIssued == Instant(seconds: 0) && again.ticketIssued == Instant(seconds: 0))
            }
            if marked == 1 { try machine.accept(roots: [roots[1]], at: Self.start) }
        }
        try machine.accept(roots: [roots[2]], at: Self.start)
        try machine.accept(freshness: newer.freshness(2, of: 3, rootVersion: 3), policy: nil, at: Self.start)
        #expect(try restarted(3, machine.marks).marks == machine.marks)
        #expect(try restarted(4, machine.marks).marks.sequence == 2)
        // A machine that begins anew keeps its own.
        #expect(try restarted(4, HighWaterMarks()).marks.sequence == 0)
    }

    @Test(arguments: ["", "{}", "[]", #"{"rootVersion":-1}"#])
    func `marks that cannot be read are none`(_ text: String) {
        #expect(throws: Rejection.self) { try HighWaterMarks(json: Array(text.utf8)) }
    }
}
