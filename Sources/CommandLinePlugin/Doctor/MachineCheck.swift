import RegistryAccess

/// One question about a machine.
///
/// A new check is written into the file of its family, and that family's list; its id never changes, because programs
/// know it.
struct MachineCheck: Sendable {
    /// For example `engine-proxy`.
    let id: String
    /// What it is about, as a noun.
    let title: String
    /// Whether it asks other programs, which takes time; `status` leaves these out.
    let asksPrograms: Bool
    /// Finds out.
    let examine: @Sendable (MachineFacts) -> Outcome

    init(
        _ id: String,
        _ title: String,
        asksPrograms: Bool = false,
        _ examine: @escaping @Sendable (MachineFacts) -> Outcome
    ) {
        self.id = id
        self.title = title
        self.asksPrograms = asksPrograms
        self.examine = examine
    }

    /// Every check, in the order in which people read them.
    static let all =
        policyChecks + daemonChecks + engineChecks + registryChecks + builderChecks + otherEngineChecks
        + credentialChecks + systemChecks

    /// What a check found out.
    struct Outcome: Sendable, Equatable {
        let status: Finding.Status
        /// Sentences, one for every thing that was found.
        let details: [String]
        /// How to mend it.
        let hint: String?

        static func ok(_ detail: String) -> Outcome { Outcome(status: .ok, details: [detail], hint: nil) }

        static func unknown(_ detail: String, hint: String? = nil) -> Outcome {
            Outcome(status: .unknown, details: [detail], hint: hint)
        }

        static func warning(_ detail: String, hint: String? = nil) -> Outcome {
            Outcome(status: .warning, details: [detail], hint: hint)
        }

        static func error(_ detail: String, hint: String? = nil) -> Outcome {
            Outcome(status: .error, details: [detail], hint: hint)
        }

        /// Several outcomes as one: as bad as the worst of them.
        ///
        /// - Parameters:
        ///   - outcomes: what was found.
        ///   - otherwise: what it is if nothing was found.
        /// - Returns: the details of all that are not in order, the worst first.
        static func all(_ outcomes: [Outcome], otherwise: Outcome) -> Outcome {
            let found = outcomes.filter { $0.status != .ok }
            guard let worst = found.map(\.status).max() else { return outcomes.first ?? otherwise }
            let sorted = Finding.Status.allCases.reversed().flatMap { status in found.filter { $0.status == status } }
            return Outcome(
                status: worst,
                details: sorted.flatMap(\.details),
                hint: sorted.lazy.compactMap(\.hint).first
            )
        }
    }
}

/// What a check found out about a machine.
struct Finding: Sendable {
    /// How it stands; the raw values are what programs read.
    enum Status: String, CaseIterable, Comparable, Sendable {
        case ok
        /// It cannot be known from here, often because only root can see it.
        case unknown
        case warning
        case error

        static func < (left: Status, right: Status) -> Bool { left.order < right.order }
        private var order: Int { Self.allCases.firstIndex(of: self) ?? 0 }
    }

    let id: String
    let title: String
    let outcome: MachineCheck.Outcome

    var status: Status { outcome.status }
    /// Whether something is wrong.
    var isProblem: Bool { status >= .warning }

    init(_ check: MachineCheck, _ facts: MachineFacts) {
        id = check.id
        title = check.title
        outcome = check.examine(facts)
    }

    var json: JSONValue {
        .object([
            JSONMember("id", .string(id)), JSONMember("status", .string(status.rawValue)),
            JSONMember("title", .string(title)),
            JSONMember("detail", .string(outcome.details.joined(separator: "\n"))),
            JSONMember("hint", .text(outcome.hint)),
        ])
    }
}
