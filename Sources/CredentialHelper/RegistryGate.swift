import LocalInstallation
import RegistryAccess

/// Says whose credentials may be used on this machine.
struct RegistryGate {
    let policy: PolicyInForce

    /// What the policy has against a server.
    struct Objection {
        /// The decision's name.
        let id: DecisionID
        /// The registry; `nil` if the server is none.
        let registry: RegistryAddress?
        /// Why its credentials are withheld; `nil` in audit mode, where they are not.
        let refusal: Refusal?
    }

    /// What the policy has against a server.
    ///
    /// - Parameter serverURL: the server as Docker names it.
    /// - Returns: `nil` if nothing speaks against it.
    func objection(to serverURL: String) -> Objection? {
        // That is no registry's, and can be used at none.
        if AdministrationKey.isOne(serverURL) { return nil }
        if case .unmanaged = policy { return nil }
        do throws(InvalidRegistryAddress) {
            let address = try RegistryAddress(serverURL: serverURL)
            return objection(policy.verdict(on: AccessRequest(.login, address)), .registry(address, .noRule), address)
        } catch {
            return objection(policy.verdict(refusing: .notInspected), .notInspected("\(error)"), nil)
        }
    }

    private func objection(
        _ verdict: Verdict,
        _ subject: Refusal.Subject,
        _ registry: RegistryAddress?
    ) -> Objection? {
        guard verdict.outcome != .allow else { return nil }
        var subject = policy.refusalOfEverything ?? subject
        if case .registry(let address, _) = subject { subject = .registry(address, verdict.reason) }
        let id = DecisionID()
        let refusal = verdict.isAllowed ? nil : policy.refusal(of: subject, id: id)
        return Objection(id: id, registry: registry, refusal: refusal)
    }
}
