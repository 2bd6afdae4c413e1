extension AccessPolicy {
    /// Decides whether the engine may reach an address at all, where nothing else can be seen: in the egress proxy.
    ///
    /// The host of a registry is open if any of its rules allows something there; that a rule denies only pulls or only
    /// pushes does not shut it, that rules deny both does. So are the hosts that an open registry sends its clients to:
    /// those of its pack (on port 443) and the `supportHosts` of its rules (on the ports that they name), unless rules
    /// deny the host itself. A registry that is denied opens nothing, and shuts the hosts of its pack that only it has,
    /// unless a rule or its `supportHosts` name them.
    ///
    /// - Parameter address: host and port.
    /// - Returns: the verdict, with the rule that opens the registry for a support host; in audit mode a refusal is
    ///   ``Verdict/Outcome/wouldDeny``.
    public func verdict(onReaching address: RegistryAddress) -> Verdict {
        guard isEnabled else { return Verdict(.allow, .disabled) }
        switch index.standing(of: address) {
        case .denied(let rule): return refusal(.deniedByRule, rule)
        case .open(let rule):
            if rules[rule].address.host != .exactly, let denying = egress.ruleDenyingRegistry(of: address, index) {
                return refusal(.deniedByRule, denying)
            }
            return Verdict(.allow, .allowedByRule, rule: rule)
        case .shut(let match):
            if let rule = egress.ruleNaming(address) { return Verdict(.allow, .supportHost, rule: rule) }
            if let denying = egress.ruleDenyingRegistry(of: address, index) { return refusal(.deniedByRule, denying) }
            if let rule = egress.ruleOpening(address, index) { return Verdict(.allow, .supportHost, rule: rule) }
            return verdict(match)
        }
    }

    /// Decides whether the engine may reach a host that a registry sends its clients to.
    ///
    /// - Parameter host: one of ``RegistryPacks/hosts(for:)``; where its name has a star, this is about a host that no
    ///   rule names.
    /// - Returns: the verdict, as in ``verdict(onReaching:)-(RegistryAddress)``.
    public func verdict(onReaching host: RegistryPacks.Host) -> Verdict {
        verdict(onReaching: host.address)
    }

    /// Whether a rule that allows something at an address accepts plain HTTP there.
    ///
    /// - Parameter address: host and port.
    /// - Returns: `false` also for a support host and for what rules deny; `true` where no policy is enforced.
    public func acceptsPlainHTTP(at address: RegistryAddress) -> Bool {
        guard isEnabled else { return true }
        guard case .open = index.standing(of: address) else { return false }
        return index.acceptsPlainHTTP(at: address)
    }
}
