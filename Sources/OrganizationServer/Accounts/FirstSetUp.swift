import HTTPTypes
import RegistryAccess
import SignedPolicy
import Synchronization

/// The first set-up of a server in a browser: whoever has the secret that `serve` prints makes the organization, once.
///
/// It makes what `docker-ram-server init` makes, with the same code.
final class FirstSetUp: Sendable {
    private enum State {
        case open
        /// Somebody's form is being worked on.
        case busy
        case done
    }

    /// What the address of the page carries; it is in memory and on the terminal, and nowhere else.
    private let secret = OpaqueToken(.setUp)
    private let state = Mutex(State.open)
    private let data: DataDirectory

    /// A set-up that nobody has begun.
    ///
    /// - Parameter data: the server's directory.
    init(data: DataDirectory) {
        self.data = data
    }

    /// Where the page is.
    ///
    /// - Parameter server: where browsers reach the server.
    /// - Returns: the address, which is a secret.
    func address(at server: PublicAddress) -> String { "\(server)/set-up?secret=\(secret.secret)" }

    /// Whether somebody shows the secret while it is still good for something.
    ///
    /// - Parameter text: what they show.
    /// - Returns: whether it is so.
    func isShown(_ text: String?) -> Bool {
        guard let token = text.flatMap({ OpaqueToken($0) }), token.digest == secret.digest else { return false }
        return state.withLock { $0 != .done }
    }

    /// Makes the organization; of two who try at the same time one does.
    ///
    /// - Parameters:
    ///   - setup: what is to be made.
    ///   - store: the database of the server that runs, in which there is no organization.
    /// - Throws: ``Problem`` 409 to who comes too late, or what ``OrganizationSetup/run(in:_:)`` throws; nothing is left of it
    ///   then.
    func make(_ setup: OrganizationSetup, in store: Store) async throws {
        let isFirst = state.withLock { state in
            guard state == .open else { return false }
            state = .busy
            return true
        }
        guard isFirst else { throw Self.tooLate }
        do {
            guard try await !store.hasOrganization() else {
                state.withLock { $0 = .done }
                throw Self.tooLate
            }
            _ = try await setup.run(in: store, data)
            state.withLock { $0 = .done }
        } catch {
            state.withLock { if $0 == .busy { $0 = .open } }
            throw error
        }
    }

    private static let tooLate = Problem(
        .conflict,
        .conflict,
        "somebody else is making the organization, or has made it",
        hint: "if it was not you, look who was at the terminal of the server"
    )
}
