import Glibc
import OrganizationClient
import RegistryAccess

/// Registers this machine by an enrollment token, for root who asks over the control socket.
///
/// Where everybody may register a machine, docker-ramd does so by itself; where only who shows a token may, somebody has to
/// bring one. It is used once and kept nowhere.
struct RegistrationDesk: Sendable {
    /// Keeps what the server knows this machine by.
    let keeper: OrganizationKeeper
    /// How long it may take until an enrollment that was written just now is followed.
    var patience = Duration.seconds(10)

    /// Registers this machine, unless the server knows it already.
    ///
    /// - Parameters:
    ///   - token: the enrollment token.
    ///   - localUser: who asks; only root and whoever docker-ramd runs as may.
    /// - Returns: `registered` with the device, or `refused`.
    func register(showing token: Token, by localUser: uid_t) async -> JSONValue {
        guard localUser == 0 || localUser == geteuid() else {
            return ControlRefusal(
                code: "forbidden",
                text: "only root may register this machine",
                hint: "run it as root: sudo docker ram enroll ..."
            ).line
        }
        let end = ContinuousClock.now + patience
        while await !keeper.isFollowing {
            guard ContinuousClock.now < end, (try? await Task.sleep(for: .milliseconds(50))) != nil else {
                return ControlRefusal(
                    code: "not_enrolled",
                    text: "docker-ramd follows no organization, or not the one that this machine belongs to",
                    hint: "run: docker ram status"
                ).line
            }
        }
        let organization = await keeper.organization ?? ""
        do throws(ServerFault) {
            let device = try await keeper.register(showing: token)
            return .object([JSONMember("registered", .object([JSONMember("device", .string(device.id))]))])
        } catch {
            return Self.refusal(of: error, organization).line
        }
    }

    private static func refusal(of fault: ServerFault, _ organization: String) -> ControlRefusal {
        let code = fault.code ?? "unreachable"
        return fault.isRegistrationRefused
            ? ControlRefusal(
                code: code,
                text: "the enrollment token is unknown to \(organization) or has ended, "
                    + "or there are as many machines as may be",
                hint: "ask an owner of \(organization) for another token"
            ) : ControlRefusal(code: code, text: "\(fault)", hint: "run the same command again when the server answers")
    }
}

extension ServerFault {
    /// Whether the server takes no machine in that comes like this.
    var isRegistrationRefused: Bool { code == "enrollment_refused" }
}
