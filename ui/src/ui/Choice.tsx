import { Select } from "@base-ui/react/select";
import styles from "./Choice.module.css";
import { Icon } from "./Icon";

interface Props {
  label: string;
  value: number;
  items: readonly { value: number; label: string }[];
  onChange: (value: number) => void;
}

/** One of a few, in a pill. */
export function Choice({ label, value, items, onChange }: Props) {
  return (
    <Select.Root items={[...items]} value={value} onValueChange={(next) => next !== null && onChange(next)}>
      <Select.Trigger className={styles.trigger} aria-label={label}>
        <Select.Value />
        <Icon name="chevron" />
      </Select.Trigger>
      <Select.Portal>
        <Select.Positioner className={styles.positioner} sideOffset={6} alignItemWithTrigger={false}>
          <Select.Popup className={styles.popup}>
            {items.map((item) => (
              <Select.Item key={item.value} value={item.value} className={styles.item}>
                <Select.ItemText>{item.label}</Select.ItemText>
                <Select.ItemIndicator>
                  <Icon name="check" />
                </Select.ItemIndicator>
              </Select.Item>
            ))}
          </Select.Popup>
        </Select.Positioner>
      </Select.Portal>
    </Select.Root>
  );
}
