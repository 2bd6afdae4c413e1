import Glibc
import LocalInstallation
import OrganizationClient
import RegistryAccess

/// Asks the organization for registries, and takes that back, for local users who want it over the control socket.
///
/// What is asked for while somebody is signed in goes out in their name, so only who signed in, and root, may ask then.
struct RequestDesk: Sendable {
    /// Keeps what was asked for.
    let keeper: OrganizationKeeper
    /// Says whom to ask where there is no organization.
    let policy: CurrentPolicy

    /// The longest reason, in characters.
    static let longestReason = 500

    /// What was asked for: `requests`, the newest first.
    var requests: JSONValue {
        get async { .object([JSONMember("requests", .array(await keeper.requests.map(\.json)))]) }
    }

    /// Asks the organization.
    ///
    /// Nothing waits here for a server that cannot be reached.
    ///
    /// - Parameters:
    ///   - registry: the registry.
    ///   - action: to pull, or to push as well.
    ///   - reason: why.
    ///   - localUser: who asks.
    /// - Returns: `requested` with the request, or `refused`.
    func ask(
        for registry: RegistryAddress,
        to action: RegistryAction,
        because reason: String,
        by localUser: uid_t
    ) async -> JSONValue {
        guard let organization = await keeper.organization else { return notEnrolled }
        if let session = await session(notOf: localUser) {
            return Self.refused(
                "forbidden",
                "\(session.user) was signed in by another user of this machine, in whose name this would be asked",
                hint: await page(registry)
            )
        }
        do throws(ServerFault) {
            let request = try await keeper.ask(for: registry, to: action, because: reason)
            return .object([
                JSONMember("requested", request.json), JSONMember("organization", .string(organization)),
            ])
        } catch {
            return await refusal(of: error, organization, registry)
        }
    }

    /// The session in whose name something would be done, if it is not that of whoever wants it.
    private func session(notOf localUser: uid_t) async -> OrganizationFiles.Session? {
        guard let session = await keeper.session, localUser != 0, localUser != session.localUser else { return nil }
        return session
    }

    /// Takes back what was asked for.
    ///
    /// - Parameters:
    ///   - number: the number of the request.
    ///   - localUser: who does it.
    /// - Returns: `withdrawn` with the request, or `refused`.
    func withdraw(_ number: Int, by localUser: uid_t) async -> JSONValue {
        guard let organization = await keeper.organization else { return notEnrolled }
        if let session = await session(notOf: localUser) {
            return Self.refused(
                "forbidden",
                "\(session.user) was signed in by another user of this machine, in whose name this would be done",
                hint: await page()
            )
        }
        do throws(ServerFault) {
            let request = try await keeper.withdraw(number)
            return .object([
                JSONMember("withdrawn", request.json), JSONMember("organization", .string(organization)),
            ])
        } catch {
            return switch (error, error.code) {
            case (.notFound, _), (_, "not_found"?):
                Self.refused(
                    "not_found",
                    "\(organization) has no request \(number) that was made here, or by who is signed in here",
                    hint: "see: docker ram request"
                )
            case (_, "conflict"?):
                Self.refused("conflict", "request \(number) has its answer already", hint: "see: docker ram request")
            case (.unreachable, _), (.untrusted, _), (.tooSlow, _):
                Self.refused(
                    "unreachable",
                    "the request was not taken back: \(error)",
                    hint: "try it again when the server can be reached, or there: \(await page())"
                )
            default: Self.refused(error.code ?? "unreachable", "\(error)", hint: "run: docker ram status")
            }
        }
    }

    private func refusal(
        of fault: ServerFault,
        _ organization: String,
        _ registry: RegistryAddress
    ) async -> JSONValue {
        switch (fault, fault.code) {
        case (_, "too_many_requests"?):
            Self.refused(
                "too_many_requests",
                "too much was asked of \(organization) from here, or of all of its owners",
                hint: contact.map { "wait until tomorrow, or ask \($0)" } ?? "wait until tomorrow"
            )
        // Such a server has nothing under this address.
        case (.notFound, _), (_, "not_found"?):
            Self.refused(
                "not_supported",
                "the server of \(organization) takes no requests; its version may be older than this one",
                hint: contact.map { "ask \($0)" } ?? "ask whoever administers this machine"
            )
        case (.unreachable, _), (.untrusted, _), (.tooSlow, _):
            Self.refused(
                "unreachable",
                "the request was not sent, and is not kept: \(fault)",
                hint: "ask again when the server can be reached, or there: \(await page(registry))"
            )
        default: Self.refused(fault.code ?? "unreachable", "\(fault)", hint: "run: docker ram status")
        }
    }

    /// Where a browser asks for the same.
    private func page(_ registry: RegistryAddress? = nil) async -> String {
        guard let enrollment = await keeper.enrollment else { return "run: docker ram status" }
        return enrollment.requestPage(for: registry)
    }

    private var contact: String? { policy.snapshot.inForce.policy?.contact }

    private var notEnrolled: JSONValue {
        Self.refused(
            "not_enrolled",
            "this machine belongs to no organization that could be asked",
            hint: contact.map { "ask \($0) for access" } ?? "ask whoever administers this machine"
        )
    }

    private static func refused(_ code: String, _ text: String, hint: String) -> JSONValue {
        ControlRefusal(code: code, text: text, hint: hint).line
    }
}
