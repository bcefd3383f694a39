package nodeactor

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/podactor"
)

// Whoever asks for a resize that the node refuses does not fill the node with it.
func TestRefusedResizeTakesNoRoom(t *testing.T) {
	wants := func(uid, memory string) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: uid, UID: types.UID(uid)},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(memory)},
			}}}},
		}
	}
	var seen []string
	admits := func(_ *corev1.Pod, others []*corev1.Pod) *podactor.Rejection {
		for _, o := range others {
			seen = append(seen, o.Name+" "+o.Spec.Containers[0].Resources.Requests.Memory().String())
		}
		return nil
	}
	m := newMachine(0, admits, Network{}, actors.DefaultSupervision())
	for _, ev := range []event{
		recovered{}, Resync{Pods: []*corev1.Pod{wants("a", "1Gi")}}, Apply{Pod: wants("a", "100Gi")}, Apply{Pod: wants("b", "1Gi")},
	} {
		m.step(ev, time.Unix(1, 0))
	}
	if diff := cmp.Diff([]string{"a 1Gi"}, seen); diff != "" {
		t.Errorf("resources of the others (-want +got):\n%s", diff)
	}
}
