package actors

// Reason is the machine-readable word for a state, as a Kubernetes user finds it in a Pod's status or in an Event.
// The list is closed: every reason that wazlet ever shows is declared here.
type Reason string

// Reasons of a terminated container.
const (
	ReasonCompleted              Reason = "Completed"
	ReasonError                  Reason = "Error"
	ReasonOOMKilled              Reason = "OOMKilled"
	ReasonStartError             Reason = "StartError"
	ReasonContainerStatusUnknown Reason = "ContainerStatusUnknown"
	// ReasonCrash is an ending that a bug of ours caused, not the guest.
	ReasonCrash Reason = "Crash"
)

// Reasons of a waiting container.
const (
	ReasonContainerCreating          Reason = "ContainerCreating"
	ReasonPodInitializing            Reason = "PodInitializing"
	ReasonErrImagePull               Reason = "ErrImagePull"
	ReasonImagePullBackOff           Reason = "ImagePullBackOff"
	ReasonInvalidImageName           Reason = "InvalidImageName"
	ReasonErrImageNeverPull          Reason = "ErrImageNeverPull"
	ReasonImageInspectError          Reason = "ImageInspectError"
	ReasonRegistryUnavailable        Reason = "RegistryUnavailable"
	ReasonCreateContainerConfigError Reason = "CreateContainerConfigError"
	ReasonCreateContainerError       Reason = "CreateContainerError"
	ReasonRunContainerError          Reason = "RunContainerError"
	ReasonCrashLoopBackOff           Reason = "CrashLoopBackOff"
)

// Reasons of a whole Pod.
const (
	ReasonDeadlineExceeded Reason = "DeadlineExceeded"
	// ReasonAgentError is a Pod that was given up because its actor crashed more often than supervision.pod allows.
	ReasonAgentError Reason = "AgentError"
	// ReasonNodeShutdown is a Pod that came while the node was being drained, ReasonTerminated one that the drain ended.
	ReasonNodeShutdown             Reason = "NodeShutdown"
	ReasonTerminated               Reason = "Terminated"
	ReasonOutOfPods                Reason = "OutOfpods"
	ReasonUnexpectedAdmissionError Reason = "UnexpectedAdmissionError"
)

// Reasons of Events that are not also states.
const (
	ReasonPulling             Reason = "Pulling"
	ReasonPulled              Reason = "Pulled"
	ReasonFailed              Reason = "Failed"
	ReasonBackOff             Reason = "BackOff"
	ReasonCreated             Reason = "Created"
	ReasonStarted             Reason = "Started"
	ReasonKilling             Reason = "Killing"
	ReasonFailedMount         Reason = "FailedMount"
	ReasonExceededGracePeriod Reason = "ExceededGracePeriod"
	ReasonInspectFailed       Reason = "InspectFailed"
	ReasonNetworkNotReady     Reason = "NetworkNotReady"
	ReasonResizeInfeasible    Reason = "ResizeInfeasible"

	ReasonFailedToRetrieveImagePullSecret Reason = "FailedToRetrieveImagePullSecret"
	// ReasonEgressRefused is ours: a guest wanted to connect to what its policy does not allow.
	ReasonEgressRefused Reason = "EgressRefused"
	// ReasonFailedCreatePodSandBox is a Pod that gets no address although there is a network.
	ReasonFailedCreatePodSandBox Reason = "FailedCreatePodSandBox"
)
